"""Files and bytes to arrays and back."""

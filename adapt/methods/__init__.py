"""The methods, one file each; source_only is the one to read first."""

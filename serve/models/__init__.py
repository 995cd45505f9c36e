"""The models that are offered, and who waits for them; knows no transport."""

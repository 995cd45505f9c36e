"""A run in, a verified bundle out."""

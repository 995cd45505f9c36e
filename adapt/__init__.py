"""Two cities in, one checkpoint out."""

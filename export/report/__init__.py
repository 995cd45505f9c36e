"""What was checked and what came out, for people."""

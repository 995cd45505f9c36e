"""A bundle in, answers out; imports no torch."""

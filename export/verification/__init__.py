"""Whether a graph gives what torch gives."""

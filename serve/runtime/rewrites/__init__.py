"""Graphs changed in memory for the device that runs them; the file stays as it is."""

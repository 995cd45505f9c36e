"""Scores of runs, and runs side by side."""

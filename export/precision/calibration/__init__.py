"""Ranges and means of what a graph computes on unlabelled frames, for int8 and fp16."""

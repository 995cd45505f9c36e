"""Distillation: a student learns from a finished run on target images alone."""

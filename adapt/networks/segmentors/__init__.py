"""Segmentation networks: one a file, with its source, numbers and pretrained weights."""

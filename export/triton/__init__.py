"""A bundle as a model repository for Triton Inference Server."""

"""TensorRT plans on the GPU at hand."""

"""A bundle's graphs as TensorRT plans, built and checked on the device that runs them; no torch."""

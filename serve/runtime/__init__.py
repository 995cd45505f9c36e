"""A bundle's graphs on a device: arrays in, arrays out; no request, no address."""

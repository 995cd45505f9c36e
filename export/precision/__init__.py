"""Lower precisions of an exported graph: calibration, INT8, FP16, and what stays as it was."""

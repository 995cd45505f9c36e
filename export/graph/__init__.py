"""Networks to ONNX."""

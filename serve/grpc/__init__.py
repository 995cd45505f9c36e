"""The Open Inference Protocol over gRPC: the other face of the same models."""

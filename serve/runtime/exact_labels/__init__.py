"""Labels from low-resolution logits, interpolating on class borders only."""

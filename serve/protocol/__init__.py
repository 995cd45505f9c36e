"""The Open Inference Protocol as values, whatever carries them."""

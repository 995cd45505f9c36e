"""Self-check by resynthesis: is the frame what its labels say? The reconstructor draws them."""

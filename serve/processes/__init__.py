"""Several processes that answer on one port, and who looks after them."""

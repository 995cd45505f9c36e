"""The whole road on two drawn cities."""

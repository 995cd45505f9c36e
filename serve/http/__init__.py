"""The server: addresses, bodies, answers."""

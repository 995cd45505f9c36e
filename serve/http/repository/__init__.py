"""The protocol's model repository: what is loaded, and loading it again."""

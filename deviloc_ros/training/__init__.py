"""Training of the point inference network."""

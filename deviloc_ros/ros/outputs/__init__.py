"""What the node publishes of a pose."""

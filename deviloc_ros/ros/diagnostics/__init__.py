"""What the node says of its health."""

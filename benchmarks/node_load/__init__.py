"""A load for the node, and the record of what it answers."""

"""Neural networks as plain torch modules, and their weights."""

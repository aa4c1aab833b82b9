"""Work on many items, in this process or on many machines."""

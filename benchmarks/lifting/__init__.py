"""What the benchmark of lifting (pin.py) is made of."""

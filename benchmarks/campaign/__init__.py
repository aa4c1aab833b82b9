"""What `robustness.py` is made of."""

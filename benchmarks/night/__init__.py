"""Attention trained for other light: image pairs with known truth, and the training."""

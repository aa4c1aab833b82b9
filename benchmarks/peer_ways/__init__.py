"""What benchmarks/peers.py compares: ways to localize, and what makes queries hard."""

"""Several cameras on one body, one pose."""

"""A rendered street drive with exact ground truth."""

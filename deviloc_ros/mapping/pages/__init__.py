"""What is written of a map to look at: pages for browsers, recordings for rerun."""

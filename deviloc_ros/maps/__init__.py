"""The map as data: its arrays, its file, its tiles, and what calibration found."""

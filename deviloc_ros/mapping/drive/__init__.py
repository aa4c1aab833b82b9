"""The map of a drive: its frame, from odometry and satellite fixes."""

"""Poses and points from COLMAP."""

"""Readers and writers of image sets, COLMAP models and pose files."""

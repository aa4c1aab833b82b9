"""Matching with context, where nearest neighbours are in doubt."""

"""Matches moved to where the pixels of query and reference agree."""

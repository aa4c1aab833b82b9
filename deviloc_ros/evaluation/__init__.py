"""Errors, recall tables and reports."""

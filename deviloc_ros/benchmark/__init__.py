"""Benchmarks of visual localization, from their folder to the file that their server takes."""

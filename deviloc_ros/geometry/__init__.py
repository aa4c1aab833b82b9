"""Cameras and rigid transforms; numpy only, no torch."""

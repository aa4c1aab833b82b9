"""A depth, and so a 3D point, for every reference keypoint."""

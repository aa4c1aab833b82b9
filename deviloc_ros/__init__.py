"""Visual localization of robots against a prior map: DeViLoc (CVPR 2024) for ROS 2."""

__version__ = "0.1.0"

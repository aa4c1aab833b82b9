"""The schemas behind the ROS parameters of the node."""

"""What a robot needs around the method, without ROS."""

"""ROS messages to numpy and `Camera`, without middleware: rclpy's and rosbags' objects alike."""

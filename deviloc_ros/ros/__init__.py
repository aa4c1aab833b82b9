"""The ROS 2 side: a thin lifecycle node around `Localizer`. Nothing else imports rclpy."""

"""Reading, writing and replaying rosbag2 files."""

"""Oxford RobotCar and RobotCar Seasons: files, bags, maps."""

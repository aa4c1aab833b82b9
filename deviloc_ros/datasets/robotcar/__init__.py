"""Oxford RobotCar and RobotCar Seasons as they are downloaded, read without their tools."""

"""What the localizer is told before it looks, and what the node says about the search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maps import write_random_map
from rclpy.parameter import Parameter
from robot import BASE_FROM_CAMERA, Robot, base_in_map
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import NavSatFix, NavSatStatus
from std_srvs.srv import Trigger
from traffic import Time, odom, send_odometry

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import PosePrior
from deviloc_ros.ros.messages import stamp_message

pytestmark = pytest.mark.ros

RVIZ = {0: 0.25, 7: 0.25, 35: 0.06853}
"""Variances of a pose that was clicked in RViz."""
HERE = Transform(Rotation.from_euler("z", 0.7), np.array([4.0, -2.0, 0.0]))


def show(robot: Robot, value: int, stamp: float) -> PosePrior | None:
    """Send an image, wait for its result and return the prior that the localizer had."""
    count = len(robot.status)
    robot.send_image(value, stamp=stamp)
    robot.spin_until(lambda: len(robot.status) == count + 1)
    return robot.localizer.priors[-1]


def base_of(prior: PosePrior) -> Transform:
    return prior.map_from_body @ BASE_FROM_CAMERA.inverse()


def test_the_last_pose_is_carried_by_odometry_and_becomes_uncertain(robot: Robot) -> None:
    time = Time(robot, 100.0, tracking__references=2, tracking__max_position_sigma=1.0)
    send_odometry(robot, 99.0, 100.0)
    assert show(robot, 30, 99.5) is None
    assert robot.modes[-1][0] == "TRACKING"
    time.be(110.0)
    send_odometry(robot, 109.0, 110.0)
    near = show(robot, 0, 109.5)
    assert near is not None
    expected = base_in_map(30) @ odom(0.995).inverse() @ odom(1.095)
    assert base_of(near).distance_to(expected)[0] < 1e-3
    assert near.num_references == 2
    # sqrt of the largest variance, and 10 s of drift besides the way.
    assert 0.17 + 10 * 0.02 < near.position_sigma < 1.0
    assert near.rotation_sigma == 0.05
    time.be(200.0)
    send_odometry(robot, 199.0, 200.0)
    far = show(robot, 30, 199.5)
    assert far is not None
    assert far.position_sigma > 1.0
    assert far.num_references is None


def test_refusals_near_the_prediction_widen_the_search(robot: Robot) -> None:
    Time(robot, 100.0)
    send_odometry(robot, *np.arange(98.0, 100.1, 0.1))
    show(robot, 30, 99.0)
    assert show(robot, 0, 99.1) is not None
    assert robot.modes[-1] == ("TRACKING", "localized")
    assert show(robot, 0, 99.2) is not None
    assert robot.modes[-1] == (
        "GLOBAL", "2 refusals in a row near the prior, the last: TOO_FEW_INLIERS",
    )  # fmt: skip
    assert show(robot, 0, 99.3) is None
    assert show(robot, 40, 99.4) is None
    assert robot.modes[-1] == ("TRACKING", "localized")
    assert show(robot, 40, 99.5) is not None


def test_what_is_no_fault_of_the_prior_does_not_widen(robot: Robot) -> None:
    Time(robot, 100.0)
    send_odometry(robot, 98.0, 100.0)
    show(robot, 30, 99.0)
    for tenth in range(1, 6):
        robot.send_image(30, stamp=99 + tenth / 10, encoding="32FC1")
        robot.spin_until(lambda n=tenth: len(robot.status) == 1 + n)
    assert robot.modes[-1][0] == "TRACKING"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"tracking__enabled": False}, "tracking.enabled is false"),
        ({"frames__odom": ""}, "no odometry carries the last pose"),
    ],
)
def test_without_tracking_every_image_searches_the_whole_map(
    robot: Robot, parameters: dict[str, Any], reason: str
) -> None:
    Time(robot, 100.0, **parameters)
    send_odometry(robot, 98.0, 100.0)
    for tenth in range(3):
        assert show(robot, 30, 99 + tenth / 10) is None
        assert robot.modes[-1] == ("GLOBAL", reason)


def test_initialpose_in_the_map(robot: Robot) -> None:
    Time(robot, 100.0)
    send_odometry(robot, 98.0, 100.0)
    robot.send_initial_pose("map", HERE, RVIZ, stamp=99.0)
    robot.spin_until(lambda: robot.modes[-1] == ("GUIDED", "initialpose in map"))
    prior = show(robot, 0, 99.5)
    assert prior is not None
    expected = HERE @ odom(0.99).inverse() @ odom(0.995)
    assert base_of(prior).distance_to(expected)[0] < 1e-4
    lever = float(np.linalg.norm(BASE_FROM_CAMERA.translation))
    assert prior.position_sigma == pytest.approx(np.hypot(0.5, 0.262 * lever), abs=0.03)
    assert prior.rotation_sigma == pytest.approx(0.262, abs=0.01)
    assert prior.num_references is None
    # A click in a plane says nothing of the height.
    assert prior.vertical_sigma is not None
    assert prior.vertical_sigma >= 1000


def test_initialpose_in_any_frame_that_tf_knows(robot: Robot) -> None:
    Time(robot, 100.0)
    map_from_hall = Transform(Rotation.from_euler("z", -1.0), np.array([50.0, 0.0, 2.0]))
    robot.send_static("map", "hall", map_from_hall)
    send_odometry(robot, 98.0, 100.0)
    robot.send_initial_pose("hall", HERE, {**RVIZ, 14: 0.04}, stamp=100.0)
    robot.spin_until(lambda: robot.modes[-1] == ("GUIDED", "initialpose in hall"))
    prior = show(robot, 0, 100.0)
    assert prior is not None
    assert base_of(prior).distance_to(map_from_hall @ HERE)[0] < 1e-9
    lever = float(np.linalg.norm(BASE_FROM_CAMERA.translation))
    assert prior.vertical_sigma == pytest.approx(np.hypot(0.2, 0.262 * lever), abs=0.01)


@pytest.mark.parametrize(
    ("frame", "covariance"), [("moon", RVIZ), ("map", {0: float("nan")}), ("map", {0: -1.0})]
)
def test_an_initialpose_that_means_nothing_is_not_used(
    robot: Robot, frame: str, covariance: dict[int, float]
) -> None:
    robot.start()
    robot.send_initial_pose(frame, HERE, covariance)
    robot.spin(0.3)
    assert robot.modes == [("GLOBAL", "no pose yet")]
    assert show(robot, 30, 1.0) is None


def test_initialpose_on_a_robot_without_odometry_holds_until_it_proves_wrong(robot: Robot) -> None:
    robot.start(frames__odom="")
    robot.send_initial_pose("", HERE, RVIZ)
    robot.spin_until(lambda: robot.modes[-1][0] == "GUIDED")
    assert show(robot, 0, 1.0) is not None
    assert show(robot, 0, 2.0) is not None
    assert show(robot, 0, 3.0) is None


GNSS = {"gnss__enabled": True, "gnss__latitude": 51.76, "gnss__longitude": -1.26}


def send_fix(robot: Robot, latitude: float, **changes: Any) -> None:
    """Send what a satellite receiver says, with sigmas of 5, 5 and 8 m."""
    publisher = robot.peer.create_publisher(NavSatFix, "/fix", 10)
    robot.spin_until(lambda: publisher.get_subscription_count() == 1)
    message = NavSatFix(latitude=latitude, longitude=-1.26, altitude=20.0)
    message.header.stamp = stamp_message(99_000_000_000)
    message.status.status = NavSatStatus.STATUS_FIX
    message.position_covariance = [25.0, 0.0, 0.0, 0.0, 25.0, 0.0, 0.0, 0.0, 64.0]
    message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_DIAGONAL_KNOWN
    for name, value in changes.items():
        setattr(message, name, value)
    publisher.publish(message)
    robot.spin(0.2)


def test_a_satellite_fix_says_where_but_not_which_way(robot: Robot) -> None:
    Time(robot, 100.0, **GNSS)
    send_odometry(robot, 98.0, 100.0)
    send_fix(robot, 51.761)
    assert robot.modes[-1] == ("GUIDED", "fix of a satellite receiver")
    prior = show(robot, 0, 99.0)
    assert prior is not None
    assert base_of(prior).translation == pytest.approx([0, 111.3, 20], abs=0.1)
    assert prior.rotation_sigma == pytest.approx(np.pi)
    assert prior.position_sigma >= 5.0
    assert prior.vertical_sigma is not None
    assert prior.vertical_sigma > prior.position_sigma
    # The next fix renews the guess; a pose that was found is better than any.
    send_fix(robot, 51.762)
    moved = show(robot, 30, 99.5)
    assert moved is not None
    assert base_of(moved).translation[1] == pytest.approx(222.6, abs=0.5)
    send_fix(robot, 51.763)
    assert robot.modes[-1] == ("TRACKING", "localized")


def test_a_satellite_fix_that_proved_wrong_is_not_asked_again(robot: Robot) -> None:
    Time(robot, 100.0, **GNSS)
    for tenth in range(2):
        send_fix(robot, 51.761)
        assert show(robot, 0, 99 + tenth / 10) is not None
    assert robot.modes[-1][0] == "GLOBAL"
    send_fix(robot, 51.761)
    assert show(robot, 0, 99.5) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"status": NavSatStatus(status=NavSatStatus.STATUS_NO_FIX)},
        {"latitude": float("nan")},
        {"not metric": True},
    ],
)
def test_a_receiver_without_a_fix_or_a_map_without_metres_gives_no_prior(
    robot: Robot, changes: dict[str, Any]
) -> None:
    robot.localizer.map.metric = not changes.pop("not metric", False)
    Time(robot, 100.0, **GNSS)
    send_fix(robot, **{"latitude": 51.761, **changes})
    assert robot.modes == [("GLOBAL", "no pose yet")]


def test_relocalize_forgets_the_prediction(robot: Robot) -> None:
    Time(robot, 100.0)
    send_odometry(robot, 98.0, 100.0)
    show(robot, 30, 99.0)
    response = robot.call(Trigger, "relocalize")
    assert response.success
    assert robot.modes[-1] == ("GLOBAL", "asked for by ~/relocalize")
    assert show(robot, 30, 99.2) is None


def test_verification_and_tracking_can_be_changed_at_any_time(robot: Robot) -> None:
    Time(robot, 100.0)
    node = robot.node
    assert node is not None
    send_odometry(robot, 98.0, 100.0)
    show(robot, 30, 99.0)
    changes = [
        Parameter("verification.min_inliers", value=77),
        Parameter("tracking.references", value=1),
        Parameter("prior.min_position_sigma", value=7.0),
    ]
    assert all(result.successful for result in node.set_parameters(changes))
    prior = show(robot, 30, 99.2)
    assert prior is not None
    assert prior.position_sigma >= 7.0
    assert robot.localizer.verification.min_inliers == 77
    refused = node.set_parameters([Parameter("verification.min_inliers", value=1)])[0]
    assert "min_inliers" in refused.reason
    assert robot.localizer.verification.min_inliers == 77


class Restarted:
    """The same robot, started again and again with a file for its pose."""

    def __init__(self, robot: Robot, folder: Path) -> None:
        self.robot = robot
        self.file = folder / "pose.json"
        self.map = write_random_map(folder / "a.devmap", 2, 4, words=2)
        self.other = write_random_map(folder / "b.devmap", 3, 4, words=2)

    def start(self, seconds: float, **parameters: Any) -> Time:
        robot = self.robot
        if robot.node is not None:
            robot.executor.remove_node(robot.node)
            robot.node.destroy_node()
        robot.modes.clear()
        values = {"map__path": str(self.map), "prior__file": str(self.file), **parameters}
        return Time(robot, seconds, **values)


def test_the_last_pose_is_saved_and_offered_after_a_restart(robot: Robot, tmp_path: Path) -> None:
    restarted = Restarted(robot, tmp_path)
    restarted.start(100.0, prior__restore=True)
    assert robot.modes[-1] == ("GLOBAL", "no pose yet")  # there is no file yet
    send_odometry(robot, 98.0, 100.0)
    show(robot, 30, 99.0)
    restarted.start(200.0, prior__restore=True, prior__restored_position_sigma=3.0)
    assert json.loads(restarted.file.read_text())["stamp"] == 99_000_000_000
    assert robot.modes[-1] == ("GUIDED", f"restored from {restarted.file}")
    # Odometry has begun anew: it carries the pose from the first image on.
    send_odometry(robot, 199.0, 200.0)
    prior = show(robot, 0, 199.5)
    assert prior is not None
    assert base_of(prior).distance_to(base_in_map(30))[0] < 1e-9
    assert prior.position_sigma >= 3.0


@pytest.mark.parametrize("fault", ["another map", "not asked for", "damaged", "no file"])
def test_a_saved_pose_that_means_nothing_is_not_used(
    robot: Robot, tmp_path: Path, fault: str
) -> None:
    restarted = Restarted(robot, tmp_path)
    restarted.start(100.0)
    show(robot, 30, 99.0)
    assert robot.node is not None
    robot.node.trigger_deactivate()
    if fault == "damaged":
        restarted.file.write_text(restarted.file.read_text()[:-9])
    if fault == "no file":
        restarted.file.unlink()
    path = restarted.other if fault == "another map" else restarted.map
    restarted.start(200.0, map__path=str(path), prior__restore=fault != "not asked for")
    assert robot.modes[-1] == ("GLOBAL", "no pose yet")


def test_a_pose_that_proved_wrong_is_not_saved(robot: Robot, tmp_path: Path) -> None:
    restarted = Restarted(robot, tmp_path)
    restarted.start(100.0)
    send_odometry(robot, 98.0, 100.0)
    for value, stamp in ((30, 99.0), (0, 99.1), (0, 99.2)):
        show(robot, value, stamp)
    assert robot.modes[-1][0] == "GLOBAL"
    assert robot.node is not None
    robot.node.trigger_deactivate()
    assert not restarted.file.exists()

"""Which transform the node publishes, and when it withholds one."""

from __future__ import annotations

import numpy as np
import pytest
from robot import Robot
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation
from test_node import base_in_map

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.ros.messages import stamp_message, stamp_ns, transform_from_message

pytestmark = pytest.mark.ros


def odom(x: float) -> Transform:
    return Transform(Rotation.from_euler("z", 5 * x, degrees=True), np.array([x, 0.0, 0.0]))


def own(robot: Robot) -> list[tuple[str, str]]:
    """Return parent and child of the transforms that the node sent."""
    return [
        (item.header.frame_id, item.child_frame_id)
        for item in robot.transforms
        if item.header.frame_id == "map"
    ]


def test_map_to_odom_carries_the_odometry_to_the_base(robot: Robot) -> None:
    robot.start()
    for stamp in (1.0, 2.0):
        robot.send_tf("odom", "base_link", stamp, odom(stamp))
    robot.spin(0.2)
    robot.send_image(30, stamp=2.0)
    robot.spin_until(lambda: ("map", "odom") in own(robot))
    sent = next(item for item in robot.transforms if item.child_frame_id == "odom")
    assert stamp_ns(sent.header.stamp) == 2_500_000_000  # post-dated by tf.tolerance
    map_from_odom = transform_from_message(sent.transform)
    np.testing.assert_allclose(
        (map_from_odom @ odom(2.0)).matrix, base_in_map(30).matrix, atol=1e-9
    )


def test_odometry_between_two_stamps_is_interpolated(robot: Robot) -> None:
    robot.start()
    for stamp in (1.0, 2.0):
        robot.send_tf("odom", "base_link", stamp, odom(0.2 * stamp))
    robot.spin(0.2)
    robot.send_image(30, stamp=1.5)
    robot.spin_until(lambda: ("map", "odom") in own(robot))
    sent = next(item for item in robot.transforms if item.child_frame_id == "odom")
    map_from_base = transform_from_message(sent.transform) @ odom(0.3)
    metres, degrees = map_from_base.distance_to(base_in_map(30))
    assert metres < 1e-3
    assert degrees < 1e-3


def test_odometry_that_comes_after_the_image_is_waited_for(robot: Robot) -> None:
    robot.start(tf__lookup_timeout=5.0)
    robot.send_tf("odom", "base_link", 1.0, odom(1.0))
    robot.spin(0.2)
    robot.send_image(30, stamp=1.5)
    robot.spin(0.3)
    assert own(robot) == []
    robot.send_tf("odom", "base_link", 2.0, odom(2.0))
    robot.spin_until(lambda: own(robot) == [("map", "odom")])


def test_no_odometry_at_the_stamp_gives_a_pose_and_no_transform(robot: Robot) -> None:
    robot.start()
    robot.send_tf("odom", "base_link", 1.0, odom(1.0))
    robot.spin(0.2)
    robot.send_image(30, stamp=60.0)
    robot.spin_until(lambda: len(robot.status) == 1)
    robot.spin(0.2)
    assert len(robot.poses) == 1
    assert own(robot) == []
    assert "60.000" in robot.last_status()[1]["tf"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [("map", "base_link")]),
        ({"frames__odom": ""}, [("map", "base_link")]),
        ({"tf__without_odom": "none"}, []),
        ({"tf__publish": "map_to_base"}, [("map", "base_link")]),
        ({"tf__publish": "none"}, []),
    ],
)
def test_without_odometry(
    robot: Robot, parameters: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    robot.start(**parameters)
    robot.send_image(30, stamp=7.0)
    robot.spin_until(lambda: len(robot.poses) == 1)
    robot.spin(0.2)
    assert own(robot) == expected
    if expected:
        sent = robot.transforms[0]
        assert stamp_ns(sent.header.stamp) == 7_000_000_000
        np.testing.assert_allclose(
            transform_from_message(sent.transform).matrix, base_in_map(30).matrix, atol=1e-12
        )


@pytest.mark.parametrize("fault", ["metric", "gravity_aligned"])
def test_map_that_is_not_metric_or_level_gives_no_transform(robot: Robot, fault: str) -> None:
    setattr(robot.localizer.map, fault, False)
    robot.start()
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)
    robot.spin(0.2)
    assert own(robot) == []
    assert "deviloc map align" in robot.last_status()[1]["tf"]


def test_map_that_is_not_metric_gives_transforms_when_told_so(robot: Robot) -> None:
    robot.localizer.map.metric = False
    robot.start(tf__allow_non_metric_map=True)
    robot.send_image(30)
    robot.spin_until(lambda: own(robot) == [("map", "base_link")])


def test_jump_back_of_simulated_time_clears_the_odometry(robot: Robot) -> None:
    clock = robot.peer.create_publisher(Clock, "/clock", 10)
    robot.start(use_sim_time=True)
    node = robot.node
    assert node is not None
    robot.spin_until(lambda: clock.get_subscription_count() == 1)

    def tick(seconds: float) -> None:
        clock.publish(Clock(clock=stamp_message(round(seconds * 1e9))))
        robot.spin_until(lambda: node.get_clock().now().nanoseconds == round(seconds * 1e9))

    tick(100.0)
    for stamp in (99.0, 100.0):
        robot.send_tf("odom", "base_link", stamp, odom(1.0))
    robot.spin(0.2)
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: own(robot) == [("map", "odom")])
    assert robot.last_status()[1]["latency_ms"] == "500.0"
    tick(10.0)
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(robot.poses) == 2)
    robot.spin(0.3)
    assert own(robot) == [("map", "odom")]
    for stamp in (9.0, 10.0):
        robot.send_tf("odom", "base_link", stamp, odom(2.0))
    robot.spin(0.2)
    robot.send_image(30, stamp=9.5)
    robot.spin_until(lambda: len(own(robot)) == 2)

"""What a navigation stack needs of the node: map -> base at any time of a drive."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.node import Node
from robot import Robot, base_in_map
from scipy.spatial.transform import Rotation
from traffic import SECOND, Time, own, stamps

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.transform_buffer import TransformUnavailableError
from deviloc_ros.ros.inputs.transforms import OwnLookup, Tf2Lookup, TransformLookup

pytestmark = pytest.mark.ros

BEGIN, SECONDS, STEP = 1_000.0, 14.0, 0.05
IMAGE_PERIOD, IMAGE_AGE = 0.4, 0.1
VALUE_PER_SECOND = 5.0
"""The fake localizer reads a pose off an image's gray value, which grows with time."""


def true_base(seconds: float) -> Transform:
    """Return where the robot is: it drives along, and turns."""
    return base_in_map(20 + VALUE_PER_SECOND * (seconds - BEGIN))


def odometry(seconds: float) -> Transform:
    """Return what the wheels say: another origin, and a drift of 2 cm a second and 0.3 deg."""
    since = seconds - BEGIN
    drift = Transform(
        Rotation.from_euler("z", 0.3 * since, degrees=True), np.array([0.02 * since, 0.0, 0.0])
    )
    origin = Transform(Rotation.from_euler("z", 2.0), np.array([300.0, -40.0, 0.0]))
    return origin @ true_base(seconds) @ drift


def true_map_from_odom(seconds: float) -> Transform:
    return true_base(seconds) @ odometry(seconds).inverse()


@pytest.fixture(params=["own", "tf2"])
def consumer(request: pytest.FixtureRequest, robot: Robot) -> Iterator[TransformLookup]:
    """A node that listens to /tf, as Nav2 does, with the project's buffer or the real tf2."""
    node = Node("controller", context=robot.context)
    if request.param == "own":
        lookup: TransformLookup = OwnLookup(node)
    else:
        tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed: no wheel has it")
        lookup = Tf2Lookup(node, tf2_ros)
    robot.executor.add_node(node)
    yield lookup
    robot.executor.remove_node(node)
    lookup.close()
    node.destroy_node()


def heard(consumer: TransformLookup, stamp: int) -> Callable[[], bool]:
    """Return whether the consumer knows the odometry at a stamp."""

    def known() -> bool:
        try:
            consumer.lookup("odom", "base_link", stamp, 0.0)
        except TransformUnavailableError:
            return False
        return True

    return known


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_map_to_base_is_known_at_any_time_of_a_drive(
    robot: Robot, consumer: TransformLookup, smoothing: float
) -> None:
    random = np.random.default_rng(0)
    time = Time(robot, BEGIN, tf__smoothing=smoothing, image__reliability="reliable")
    robot.localizer.seconds = 0.02
    first_fix: float | None = None
    failures: list[str] = []
    asked = 0
    worst = 0.0
    for step in range(1, round(SECONDS / STEP)):
        now = BEGIN + step * STEP
        time.publish(now)
        robot.send_tf("odom", "base_link", now, odometry(now))
        robot.spin_until(heard(consumer, round(now * SECOND)))
        taken = now - IMAGE_AGE
        since = (taken - BEGIN) / IMAGE_PERIOD
        if step > 10 and math.isclose(since, round(since), abs_tol=1e-6) and not 8 < since < 20:
            # No image between 3.2 and 8 s: the transform must outlive that.
            value = round(20 + VALUE_PER_SECOND * (taken - BEGIN))
            robot.send_image(value, stamp=taken)
        if first_fix is None and ("map", "odom") in own(robot):
            first_fix = stamps(robot)[0]
            robot.spin(0.1)
        if first_fix is None:
            continue
        # Now, just before now, and anywhere since the first fix that tf2 still keeps.
        earliest = max(first_fix, now - 8.0)
        for at in (now, now - STEP / 2, random.uniform(earliest, now)):
            if at < earliest:
                continue
            asked += 1
            try:
                found = consumer.lookup("map", "base_link", round(at * SECOND), 0.0)
            except TransformUnavailableError as error:
                failures.append(f"{at - BEGIN:.3f} s asked at {now - BEGIN:.3f} s: {error}")
                continue
            worst = max(worst, found.distance_to(true_base(at))[0])
    assert first_fix is not None
    assert first_fix < BEGIN + 1.5
    assert failures == []
    assert asked > 600
    # Odometry drifts by 0.1 m in the 4.8 s without images; else the fix is half a second old.
    assert worst < 0.25
    assert len(robot.poses) > 15
    # As tf2 demands: stamps rise, and a frame has one parent.
    assert stamps(robot) == sorted(set(stamps(robot)))
    assert set(own(robot)) == {("map", "odom")}


def test_real_tf2_and_the_projects_buffer_agree_on_what_the_node_says(
    context: Context, robot: Robot
) -> None:
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed: no wheel has it")
    node = Node("both", context=context)
    ours, theirs = OwnLookup(node), Tf2Lookup(node, tf2_ros)
    robot.executor.add_node(node)
    time = Time(robot, BEGIN)
    for step in range(1, 200):
        now = BEGIN + step * STEP
        time.publish(now)
        robot.send_tf("odom", "base_link", now, odometry(now))
        robot.spin_until(heard(ours, round(now * SECOND)))
        if step % 20 == 0:
            value = round(20 + VALUE_PER_SECOND * (now - BEGIN))
            robot.send_image(value, stamp=BEGIN + (value - 20) / VALUE_PER_SECOND)
    robot.spin(0.3)
    random = np.random.default_rng(0)
    begin = stamps(robot)[0]
    for at in random.uniform(begin, BEGIN + 198 * STEP, 200):
        stamp = round(at * SECOND)
        found = ours.lookup("map", "base_link", stamp, 0.0)
        metres, degrees = found.distance_to(theirs.lookup("map", "base_link", stamp, 0.0))
        # tf2 goes straight where the project's buffer follows a screw. A fix turns map -> odom by
        # 0.3 degrees about an origin 300 m away: the chord is 1.04 mm off its arc.
        assert metres < 2e-3
        assert degrees < 1e-2
    newest = ours.newest("map", "base_link").distance_to(theirs.newest("map", "base_link"))
    assert newest[0] < 1e-6
    robot.executor.remove_node(node)
    ours.close()
    theirs.close()
    node.destroy_node()

"""Which transform the node publishes, when, and when it withholds one."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.parameter import Parameter
from robot import Robot, base_in_map
from scipy.spatial.transform import Rotation
from traffic import SECOND, Time, newest, odom, own, send_odometry, stamps

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import stamp_ns, transform_of

pytestmark = pytest.mark.ros


def test_map_to_odom_carries_the_odometry_to_the_base_from_the_images_stamp_on(
    robot: Robot,
) -> None:
    Time(robot, 100.0)
    send_odometry(robot, 99.0, 99.5, 100.0)
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(own(robot)) == 2)
    # Good at the image's stamp, and until tf.tolerance after now.
    assert stamps(robot) == [99.5, 100.5]
    for item in robot.transforms:
        if item.child_frame_id == "odom":
            map_from_base = transform_of(item.transform) @ odom(0.995)
            np.testing.assert_allclose(map_from_base.matrix, base_in_map(30).matrix, atol=1e-9)


def test_kept_alive_between_fixes_with_rising_stamps_until_it_is_too_old(robot: Robot) -> None:
    time = Time(robot, 100.0, tf__rate=10.0, tf__max_age=2.0)
    send_odometry(robot, 99.0, 100.0)
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(own(robot)) == 2)
    first = newest(robot)
    for tenth in range(1, 31):
        time.be(100 + tenth / 10)
    after = [stamp for stamp in stamps(robot) if stamp > 100.5]
    assert len(after) >= 15  # a tick of the clock and one of the timer may miss each other
    assert after == sorted(set(after))
    assert after[-1] == pytest.approx(102.5, abs=0.11)
    np.testing.assert_array_equal(newest(robot).matrix, first.matrix)


def test_a_correction_is_smoothed_when_asked_for(robot: Robot) -> None:
    time = Time(robot, 100.0, tf__rate=10.0, tf__smoothing=1.0, tf__smoothing_limit=5.0)
    send_odometry(robot, 99.0, 100.0)
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(own(robot)) == 2)
    send_odometry(robot, 101.0)
    time.be(101.0)
    robot.send_image(40, stamp=100.5)
    robot.spin_until(lambda: len(robot.poses) == 2)
    left = []
    for tenth in range(1, 30):
        time.be(101 + tenth / 10)
        base = newest(robot) @ odom(1.005)
        left.append(base.distance_to(base_in_map(40))[0])
    assert left == sorted(left, reverse=True)
    assert 0.7 < left[0] < 1.0
    assert 0.02 < left[-1] < 0.1


def test_planar_by_a_parameter_that_can_be_changed_at_any_time(robot: Robot) -> None:
    time = Time(robot, 100.0, tf__rate=50.0)
    node = robot.node
    assert node is not None
    assert node.set_parameters([Parameter("tf.planar", value=True)])[0].successful
    tilted = Transform(Rotation.from_euler("xyz", [0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]))
    for stamp in (99.0, 100.0):
        robot.send_tf("odom", "base_link", stamp, tilted)
    robot.spin(0.2)
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(own(robot)) == 2)
    time.be(100.1)
    sent = newest(robot)
    np.testing.assert_allclose(sent.rotation.apply([0, 0, 1]), [0, 0, 1], atol=1e-12)
    assert sent.translation[2] == 0
    expected = base_in_map(30).translation[:2]
    np.testing.assert_allclose((sent @ tilted).translation[:2], expected, atol=1e-9)
    # The pose itself is not flattened.
    assert len(robot.poses) == 1


def test_odometry_between_two_stamps_is_interpolated(robot: Robot) -> None:
    robot.start()
    for stamp in (1.0, 2.0):
        robot.send_tf("odom", "base_link", stamp, odom(0.2 * stamp))
    robot.spin(0.2)
    robot.send_image(30, stamp=1.5)
    robot.spin_until(lambda: ("map", "odom") in own(robot))
    map_from_base = newest(robot) @ odom(0.3)
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
    robot.spin_until(lambda: ("map", "odom") in own(robot))


def test_no_odometry_at_the_stamp_gives_a_pose_and_no_transform(robot: Robot) -> None:
    robot.start(diagnostics__period=0.1)
    robot.send_tf("odom", "base_link", 1.0, odom(1.0))
    robot.spin(0.2)
    robot.send_image(30, stamp=60.0)
    robot.spin_until(lambda: len(robot.status) == 1)
    robot.spin(0.2)
    assert len(robot.poses) == 1
    assert own(robot) == []
    assert "60.000" in robot.last_status()[1]["tf"]
    robot.diagnostics.clear()
    robot.spin_until(lambda: bool(robot.diagnostics))
    assert "no transform" in robot.diagnostics[-1].status[0].message


def test_a_robot_that_starts_slowly_never_gets_a_second_parent_of_its_base(robot: Robot) -> None:
    robot.start()
    robot.send_image(30, stamp=1.5)
    robot.spin_until(lambda: len(robot.poses) == 1)
    robot.spin(0.2)
    assert own(robot) == []
    assert "frames.odom" in robot.last_status()[1]["tf"]
    for stamp in (1.0, 2.0):
        robot.send_tf("odom", "base_link", stamp, odom(stamp))
    robot.spin(0.2)
    robot.send_image(30, stamp=1.6)
    robot.spin_until(lambda: len(own(robot)) >= 2)
    assert set(own(robot)) == {("map", "odom")}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, []),
        ({"frames__odom": ""}, [("map", "base_link")]),
        ({"tf__publish": "map_to_base"}, [("map", "base_link")]),
        ({"tf__publish": "none"}, []),
        ({"tf__publish": "none", "frames__odom": ""}, []),
    ],
)
def test_without_odometry(
    robot: Robot, parameters: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    robot.start(**parameters)
    robot.send_image(30, stamp=7.0)
    robot.spin_until(lambda: len(robot.poses) == 1)
    robot.spin(0.3)
    assert own(robot) == expected
    if expected:
        sent = robot.transforms[0]
        assert stamp_ns(sent.header.stamp) == 7 * SECOND
        np.testing.assert_allclose(
            transform_of(sent.transform).matrix, base_in_map(30).matrix, atol=1e-12
        )


def test_a_refused_image_changes_nothing(robot: Robot) -> None:
    time = Time(robot, 100.0, tf__rate=10.0)
    send_odometry(robot, 99.0, 100.0)
    robot.send_image(0, stamp=99.5)
    robot.spin_until(lambda: len(robot.status) == 1)
    time.be(100.5)
    assert own(robot) == []
    send_odometry(robot, 100.5)
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(own(robot)) >= 2)
    before = newest(robot)
    robot.send_image(0, stamp=100.0)
    robot.spin_until(lambda: len(robot.status) == 3)
    time.be(101.0)
    np.testing.assert_array_equal(newest(robot).matrix, before.matrix)


@pytest.mark.parametrize("fault", ["metric", "gravity_aligned"])
def test_map_that_is_not_metric_or_level_gives_no_transform(robot: Robot, fault: str) -> None:
    setattr(robot.localizer.map, fault, False)
    robot.start(frames__odom="")
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)
    robot.spin(0.2)
    assert own(robot) == []
    assert "deviloc map align" in robot.last_status()[1]["tf"]


def test_map_that_is_not_metric_gives_transforms_when_told_so(robot: Robot) -> None:
    robot.localizer.map.metric = False
    robot.start(tf__allow_non_metric_map=True, frames__odom="")
    robot.send_image(30)
    robot.spin_until(lambda: own(robot) == [("map", "base_link")])


def test_jump_back_of_simulated_time_clears_everything_that_was_known(robot: Robot) -> None:
    time = Time(robot, 100.0)
    send_odometry(robot, 99.0, 100.0)
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(own(robot)) == 2)
    assert robot.last_status()[1]["latency_ms"] == "500.0"
    robot.spin_until(lambda: robot.modes[-1][0] == "TRACKING")
    time.be(10.0)
    robot.spin_until(lambda: robot.modes[-1] == ("GLOBAL", "time jumped back"))
    robot.transforms.clear()
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(robot.poses) == 2)
    for tenth in range(1, 6):
        time.be(10 + tenth / 10)
    assert own(robot) == []
    for stamp in (9.0, 10.0):
        robot.send_tf("odom", "base_link", stamp, odom(2.0))
    robot.spin(0.2)
    robot.send_image(30, stamp=9.5)
    robot.spin_until(lambda: len(own(robot)) == 2)
    assert stamps(robot) == [9.5, 11.0]


def test_an_image_in_hand_while_time_jumps_back_is_dropped(robot: Robot) -> None:
    """Its pose would carry a stamp in what is the future now."""
    time = Time(robot, 100.0, diagnostics__period=0.1)
    send_odometry(robot, 98.0, 100.0)
    assert robot.node is not None
    robot.localizer.seconds = 1.0
    robot.send_image(30, stamp=99.0)
    robot.spin_until(lambda: len(robot.localizer.images) == 1)
    robot.send_image(40, stamp=99.5)  # waits
    robot.spin(0.2)
    time.publish(10.0)
    robot.spin_until(lambda: robot.modes[-1] == ("GLOBAL", "time jumped back"))
    robot.spin(1.5)
    assert robot.poses == []
    assert len(robot.localizer.images) == 1
    values = {i.key: i.value for i in robot.diagnostics[-1].status[0].values}
    assert (values["frames_received"], values["frames_dropped"]) == ("2", "2")
    robot.localizer.seconds = 0.0
    send_odometry(robot, 9.0, 10.0)
    robot.send_image(30, stamp=9.5)
    robot.spin_until(lambda: len(robot.poses) == 1)

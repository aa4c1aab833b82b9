"""The transform buffer, against a tree that moves by a known law; and against tf2 where it is."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.transform_buffer import TransformBuffer, TransformUnavailableError

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def moving(seconds: float, speed: float = 1.0) -> Transform:
    """Return a pose on a circle, which screw interpolation meets exactly."""
    turn = Rotation.from_euler("z", speed * seconds)
    return Transform(turn, turn.apply([3.0, 0.0, 0.2]))


def filled(order: list[int]) -> TransformBuffer:
    buffer = TransformBuffer()
    buffer.set_static("base", "mast", Transform(Rotation.identity(), np.array([0.0, 0.0, 1.0])))
    buffer.set_static("mast", "camera", Transform(Rotation.from_euler("x", 1.0), np.zeros(3)))
    for tenth in order:
        stamp = START + tenth * SECOND // 10
        buffer.add("odom", "base", stamp, moving(tenth / 10))
        buffer.add("base", "arm", stamp, moving(tenth / 10, -0.5))
    return buffer


@settings(max_examples=30, deadline=None)
@given(st.permutations(list(range(6))), st.integers(0, SECOND // 2))
def test_any_time_in_any_order_of_arrival(order: list[int], offset: int) -> None:
    buffer = filled(order)
    seconds = offset / SECOND
    found = buffer.lookup("odom", "camera", START + offset, 0)
    mast = Transform(Rotation.from_euler("x", 1.0), np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(found.matrix, (moving(seconds) @ mast).matrix, atol=1e-6)
    found = buffer.lookup("camera", "arm", START + offset, 0)
    expected = mast.inverse() @ moving(seconds, -0.5)
    np.testing.assert_allclose(found.matrix, expected.matrix, atol=1e-6)


@pytest.mark.parametrize("offset", [-1, 5 * SECOND // 10 + 1])
def test_nothing_is_extrapolated(offset: int) -> None:
    with pytest.raises(TransformUnavailableError, match="not known at"):
        filled(list(range(6))).lookup("odom", "base", START + offset, 0)


def test_fixed_transforms_hold_at_any_time() -> None:
    buffer = filled([])
    assert buffer.lookup("base", "camera", 5, 0).translation[2] == 1.0
    assert buffer.lookup("base", "base", 5, 0).translation[2] == 0.0


def test_unknown_and_unjoined_frames_are_named() -> None:
    buffer = filled([0])
    buffer.set_static("island", "palm", Transform.identity())
    with pytest.raises(TransformUnavailableError, match="'moon'"):
        buffer.lookup("odom", "moon", START, 0)
    with pytest.raises(TransformUnavailableError, match="no chain"):
        buffer.lookup("odom", "palm", START, 0)
    assert not buffer.connected("odom", "palm")
    assert buffer.connected("odom", "camera")


def test_old_transforms_go_and_clear_keeps_what_is_fixed() -> None:
    buffer = filled([0, 1])
    buffer.add("odom", "base", START + 30 * SECOND, moving(30))
    with pytest.raises(TransformUnavailableError):
        buffer.lookup("odom", "base", START, 0)
    buffer.clear()
    assert not buffer.connected("odom", "base")
    assert buffer.connected("base", "camera")


def test_a_frame_has_one_parent_the_last_it_was_given() -> None:
    buffer = filled([0, 1])
    buffer.add("world", "base", START, moving(0.5))
    assert not buffer.connected("odom", "camera")
    np.testing.assert_allclose(
        buffer.lookup("world", "base", START, 0).matrix, moving(0.5).matrix, atol=1e-9
    )


def test_waits_for_a_transform_that_comes_late() -> None:
    buffer = filled([0])
    stamp = START + 2 * SECOND
    thread = threading.Timer(0.1, buffer.add, ("odom", "base", stamp, moving(2)))
    thread.start()
    found = buffer.lookup("odom", "base", START + SECOND, 5.0)
    np.testing.assert_allclose(found.matrix, moving(1).matrix, atol=1e-6)
    thread.join()


def test_waits_no_longer_than_told() -> None:
    begin = time.monotonic()
    with pytest.raises(TransformUnavailableError):
        filled([0]).lookup("odom", "base", START + SECOND, 0.1)
    assert time.monotonic() - begin >= 0.1


def test_agrees_with_tf2() -> None:
    tf2 = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed: no wheel has it")
    from rclpy.time import Time

    from deviloc_ros.messages.stamped import transform_of
    from deviloc_ros.ros.messages import transform_message

    theirs, ours = tf2.Buffer(), filled(list(range(6)))
    for tenth in range(6):
        stamp = START + tenth * SECOND // 10
        pose = transform_message("odom", "base", stamp, moving(tenth / 10))
        theirs.set_transform(pose, "test")
    for offset in (0, SECOND // 20, SECOND // 3, SECOND // 2):
        found = theirs.lookup_transform("odom", "base", Time(nanoseconds=START + offset)).transform
        metres, degrees = transform_of(found).distance_to(
            ours.lookup("odom", "base", START + offset, 0)
        )
        # tf2 cuts the corner between two samples; the chord of 0.1 rad at 3 m is 4 mm off.
        assert metres < 0.005
        assert degrees < 1e-4


def test_the_newest_is_that_of_the_last_time_all_links_are_known() -> None:
    buffer = filled(list(range(6)))
    buffer.add("odom", "base", START + SECOND, moving(1.0))
    found = buffer.newest("odom", "base")
    np.testing.assert_allclose(found.matrix, moving(1.0).matrix, atol=1e-6)
    expected = moving(0.5) @ moving(0.5, -0.5)
    np.testing.assert_allclose(buffer.newest("odom", "arm").matrix, expected.matrix, atol=1e-6)
    # odom moves for both, so it does not limit what lies beyond it.
    np.testing.assert_allclose(
        buffer.newest("base", "arm").matrix, moving(0.5, -0.5).matrix, atol=1e-6
    )
    assert buffer.newest("base", "camera").translation[2] == 1.0
    with pytest.raises(TransformUnavailableError, match="'moon'"):
        buffer.newest("odom", "moon")

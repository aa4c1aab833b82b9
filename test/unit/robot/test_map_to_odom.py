"""map -> odom between fixes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.map_to_odom import MapToOdom, flattened

SECOND = 1_000_000_000
angles = st.floats(-1.2, 1.2)
coordinates = st.floats(-100, 100)
poses = st.builds(
    lambda turn, place: Transform(Rotation.from_euler("xyz", turn), np.array(place)),
    st.tuples(angles, angles, st.floats(-3, 3)),
    st.tuples(coordinates, coordinates, coordinates),
)
ODOM = Transform(Rotation.from_euler("z", 0.4), np.array([500.0, 20.0, 0.0]))


def near(pose: Transform, metres: float, degrees: float) -> Transform:
    turn = Rotation.from_euler("z", degrees, degrees=True)
    return Transform(turn * pose.rotation, pose.translation + np.array([metres, 0.0, 0.0]))


def heading(pose: Transform) -> float:
    x, y, _ = pose.rotation.apply([1.0, 0.0, 0.0])
    return float(np.arctan2(y, x))


@settings(deadline=None)
@given(poses, poses)
def test_carries_the_odometry_to_the_pose(map_from_base: Transform, odom: Transform) -> None:
    kept = MapToOdom()
    assert kept.at(0) is None
    kept.correct(map_from_base, odom, 5)
    for now in (0, 5, 3600 * SECOND):
        said = kept.at(now)
        assert said is not None
        np.testing.assert_allclose((said @ odom).matrix, map_from_base.matrix, atol=1e-9)
    kept.clear()
    assert kept.at(5) is None


@settings(deadline=None)
@given(poses, poses)
def test_planar_is_flat_with_the_same_place_and_heading(pose: Transform, odom: Transform) -> None:
    kept = MapToOdom(planar=True)
    kept.correct(pose, odom, 0)
    said = kept.at(0)
    assert said is not None
    np.testing.assert_allclose(said.rotation.apply([0, 0, 1]), [0, 0, 1], atol=1e-12)
    assert said.translation[2] == pytest.approx(0, abs=1e-9)
    base = said @ odom
    np.testing.assert_allclose(base.translation[:2], pose.translation[:2], atol=1e-9)
    turn = heading(base) - heading(pose)
    assert np.cos(turn) == pytest.approx(1)
    assert flattened(flattened(pose)).distance_to(flattened(pose))[0] == 0


def test_a_correction_is_approached_and_never_overshot() -> None:
    kept = MapToOdom(smoothing=0.5)
    first = ODOM
    kept.correct(first, ODOM, 0)
    target = near(first, 0.4, 3.0)
    kept.correct(target, ODOM, SECOND)
    left = []
    for tenth in range(40):
        said = kept.at(SECOND + tenth * SECOND // 10)
        assert said is not None
        base = said @ ODOM
        metres, degrees = base.distance_to(target)
        expected = np.exp(-tenth / 5)
        assert metres == pytest.approx(0.4 * expected, abs=1e-9)
        assert degrees == pytest.approx(3.0 * expected, abs=1e-6)
        # On the line between the two, however far the odometry's origin is.
        assert base.translation[1] == pytest.approx(first.translation[1], abs=1e-9)
        left.append(metres)
    assert left == sorted(left, reverse=True)


def test_a_new_fix_begins_where_the_last_correction_is() -> None:
    kept = MapToOdom(smoothing=1.0)
    kept.correct(ODOM, ODOM, 0)
    kept.correct(near(ODOM, 0.5, 0), ODOM, SECOND)
    before = kept.at(2 * SECOND)
    kept.correct(near(ODOM, -0.5, 0), ODOM, 2 * SECOND)
    after = kept.at(2 * SECOND)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(before.matrix, after.matrix, atol=1e-9)


def test_large_jumps_and_unsmoothed_ones_are_said_at_once() -> None:
    for kept, metres in ((MapToOdom(smoothing=1.0, smoothing_limit=1.0), 1.5), (MapToOdom(), 0.5)):
        kept.correct(ODOM, ODOM, 0)
        kept.correct(near(ODOM, metres, 0), ODOM, SECOND)
        said = kept.at(SECOND)
        assert said is not None
        assert (said @ ODOM).distance_to(near(ODOM, metres, 0))[0] < 1e-9


def test_an_old_fix_is_not_repeated_for_ever() -> None:
    kept = MapToOdom(max_age=10.0)
    kept.correct(ODOM, ODOM, SECOND)
    assert kept.at(11 * SECOND) is not None
    assert kept.at(12 * SECOND) is None
    kept.correct(ODOM, ODOM, 20 * SECOND)
    assert kept.at(21 * SECOND) is not None

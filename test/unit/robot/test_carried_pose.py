"""A pose carried by odometry, and how uncertain it becomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.carried_pose import CarriedPose, Drift

DRIFT = Drift(0.05, 0.02, 0.03, 0.004, 0.001)
SECOND = 1_000_000_000
START = CarriedPose(
    Transform(Rotation.from_euler("xyz", [0.1, -0.2, 2.0]), np.array([10.0, -4.0, 1.0])),
    0.1,
    0.02,
    0,
)
coordinates = st.floats(-50, 50)
poses = st.builds(
    lambda x, y, turn: Transform(Rotation.from_euler("z", turn), np.array([x, y, 0.0])),
    coordinates,
    coordinates,
    st.floats(-3, 3),
)


@settings(deadline=None)
@given(poses, st.lists(poses, min_size=1, max_size=6))
def test_odometry_carries_the_pose_and_uncertainty_only_grows(
    first: Transform, path: list[Transform]
) -> None:
    pose = CarriedPose(START.map_from_base, 0.1, 0.02, 0, first, vertical_sigma=3.0)
    for number, odom in enumerate(path, 1):
        later = pose.carried(odom, number * SECOND, DRIFT)
        assert later.position_sigma > pose.position_sigma
        assert later.rotation_sigma > pose.rotation_sigma
        assert later.vertical_sigma is not None
        assert pose.vertical_sigma is not None
        assert later.vertical_sigma > pose.vertical_sigma
        pose = later
    expected = START.map_from_base @ first.inverse() @ path[-1]
    np.testing.assert_allclose(pose.map_from_base.matrix, expected.matrix, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_uncertainty_depends_on_the_way_and_not_on_how_often_it_is_asked_for(steps: int) -> None:
    pose = CarriedPose(START.map_from_base, 0.1, 0.02, 0, Transform.identity())
    for step in range(1, steps + 1):
        odom = Transform(Rotation.identity(), np.array([20.0 * step / steps, 0.0, 0.0]))
        pose = pose.carried(odom, 10 * SECOND * step // steps, DRIFT)
    assert pose.rotation_sigma == pytest.approx(0.02 + 0.004 * 20 + 0.001 * 10)
    heading = (0.02 + pose.rotation_sigma) / 2 * 20
    assert pose.position_sigma == pytest.approx(0.1 + 0.05 * 20 + 0.02 * 10 + heading)


def test_driving_a_circle_costs_certainty_though_it_ends_where_it_began() -> None:
    pose = CarriedPose(START.map_from_base, 0.1, 0.02, 0, Transform.identity())
    for quarter in (1, 2, 3, 4):
        turn = Rotation.from_euler("z", quarter * np.pi / 2)
        around = Transform(turn, turn.apply([5.0, 0.0, 0.0]) - [5.0, 0.0, 0.0])
        pose = pose.carried(around, quarter * SECOND, DRIFT)
    assert pose.map_from_base.distance_to(START.map_from_base)[0] < 1e-9
    assert pose.position_sigma > 0.1 + 0.05 * 20


def test_without_odometry_the_pose_waits_and_begins_to_move_with_the_first() -> None:
    waiting = START.carried(None, 5 * SECOND, DRIFT)
    assert waiting.map_from_base is START.map_from_base
    assert waiting.position_sigma == pytest.approx(0.1 + 0.02 * 5)
    far = Transform(Rotation.identity(), np.array([300.0, 0.0, 0.0]))
    anchored = waiting.carried(far, 6 * SECOND, DRIFT)
    assert anchored.map_from_base.distance_to(START.map_from_base)[0] == 0
    moved = anchored.carried(
        far @ Transform(Rotation.identity(), np.array([1.0, 0.0, 0.0])), 7 * SECOND, DRIFT
    )
    assert moved.map_from_base.distance_to(START.map_from_base)[0] == pytest.approx(1.0)
    gap = moved.carried(None, 8 * SECOND, DRIFT).carried(far, 9 * SECOND, DRIFT)
    assert gap.map_from_base.distance_to(START.map_from_base)[0] < 1e-9


def test_sigmas_of_a_covariance_are_those_of_its_worst_direction() -> None:
    turn = Rotation.from_euler("xyz", [0.3, 1.0, -2.0]).as_matrix()
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = turn @ np.diag([0.01, 0.25, 0.04]) @ turn.T
    covariance[3:, 3:] = turn @ np.diag([1e-4, 4e-4, 1e-4]) @ turn.T
    pose = CarriedPose.of_estimate(START.map_from_base, covariance, 7, None)
    assert pose.position_sigma == pytest.approx(0.5)
    assert pose.rotation_sigma == pytest.approx(0.02)

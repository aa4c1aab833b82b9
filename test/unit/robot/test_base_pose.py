"""The pose of the base and its covariance, against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.base_pose import base_pose

angle = st.floats(-3.0, 3.0)
length = st.floats(-20.0, 20.0)


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    turn = Rotation.from_euler("xyz", [draw(angle) for _ in range(3)])
    return Transform(turn, np.array([draw(length) for _ in range(3)]))


@settings(max_examples=20, deadline=None)
@given(transforms(), transforms(), st.integers(0, 2**31 - 1))
def test_covariance_of_the_base_is_that_of_sampled_poses(
    map_from_camera: Transform, base_from_camera: Transform, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    root = 1e-3 * rng.standard_normal((6, 6))
    covariance = root @ root.T
    result = base_pose(map_from_camera, covariance, base_from_camera)
    shifts = rng.standard_normal((20_000, 6)) @ root.T
    turned = Rotation.from_rotvec(shifts[:, 3:])
    lever = result.map_from_base.translation - map_from_camera.translation
    positions = map_from_camera.translation + shifts[:, :3] + turned.apply(lever)
    errors = np.hstack([positions - result.map_from_base.translation, shifts[:, 3:]])
    sampled = errors.T @ errors / len(errors)
    scale = np.sqrt(np.outer(np.diag(sampled), np.diag(sampled)))
    np.testing.assert_array_less(np.abs(result.covariance - sampled), 0.08 * scale + 1e-12)


@given(transforms(), transforms())
def test_pose_of_the_base(map_from_camera: Transform, base_from_camera: Transform) -> None:
    result = base_pose(map_from_camera, np.eye(6), base_from_camera)
    back = result.map_from_base @ base_from_camera
    np.testing.assert_allclose(back.matrix, map_from_camera.matrix, atol=1e-9)


def test_camera_at_the_base_keeps_its_covariance() -> None:
    covariance = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    turned = Transform(Rotation.from_euler("z", 1.0), np.zeros(3))
    np.testing.assert_allclose(base_pose(turned, covariance, turned).covariance, covariance)

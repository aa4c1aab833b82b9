"""The projection's derivative and the refinement of a pose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.least_squares import projection_jacobian, refine

CAMERAS = [
    Camera("PINHOLE", 800, 600, (700.0, 710.0, 400.0, 300.0)),
    Camera("OPENCV", 800, 600, (700.0, 710.0, 400.0, 300.0, -0.2, 0.05, 1e-3, -1e-3)),
    Camera("OPENCV_FISHEYE", 800, 600, (300.0, 300.0, 400.0, 300.0, 0.02, 0.0, 0.0, 0.0)),
]


def scene(camera: Camera, seed: int, count: int = 60) -> tuple[Transform, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    pose = Transform(Rotation.random(rng=generator), generator.normal(0, 50, 3))
    keypoints = generator.uniform((20, 20), (780, 580), (count, 2))
    points = pose.inverse().apply(camera.rays(keypoints) * generator.uniform(2, 30, (count, 1)))
    return pose, keypoints, points


def moved(camera_from_map: Transform, shift: np.ndarray, turn: np.ndarray) -> Transform:
    pose = camera_from_map.inverse()
    return Transform(Rotation.from_rotvec(turn) * pose.rotation, pose.translation + shift).inverse()


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.model)
@given(seed=st.integers(0, 500))
def test_derivative_is_that_of_moving_the_camera(camera: Camera, seed: int) -> None:
    pose, _, points = scene(camera, seed)
    pixels, jacobian = projection_jacobian(camera, pose, points)
    np.testing.assert_allclose(pixels, camera.project(pose.apply(points)), atol=1e-9)
    for axis in range(6):
        delta = np.zeros(6)
        delta[axis] = 1e-5
        forward = camera.project(moved(pose, delta[:3], delta[3:]).apply(points))
        backward = camera.project(moved(pose, -delta[:3], -delta[3:]).apply(points))
        expected = (forward - backward) / 2e-5
        np.testing.assert_allclose(jacobian[:, :, axis], expected, rtol=2e-3, atol=0.5)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.model)
@given(seed=st.integers(0, 500))
def test_refinement_returns_to_the_truth_past_outliers(camera: Camera, seed: int) -> None:
    truth, keypoints, points = scene(camera, seed)
    keypoints[:6] += 40.0
    generator = np.random.default_rng(seed)
    first = moved(truth, generator.normal(0, 0.02, 3), generator.normal(0, 0.002, 3))
    metres, degrees = (
        refine(camera, first, keypoints, points, 1.0).inverse().distance_to(truth.inverse())
    )
    assert metres < 0.02
    assert degrees < 0.05


def test_points_behind_the_camera_have_no_projection() -> None:
    pose, _, points = scene(CAMERAS[0], 1, 3)
    points[0] = pose.inverse().apply([0.0, 0.0, -1.0])
    pixels, jacobian = projection_jacobian(CAMERAS[0], pose, points)
    assert np.isnan(pixels[0]).all()
    assert np.isnan(jacobian[0]).all()
    assert np.isfinite(jacobian[1:]).all()


def test_a_pose_that_nothing_determines_stays() -> None:
    pose, keypoints, points = scene(CAMERAS[0], 2, 2)
    refined = refine(CAMERAS[0], pose, keypoints[:0], points[:0], 1.0)
    assert np.array_equal(refined.matrix, pose.matrix)

"""A 3D point for every keypoint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.lifting import GeometricInference, ReferenceView, lift

CAMERA = Camera("OPENCV", 640, 480, (500.0, 510.0, 320.0, 240.0, 0.05, -0.02, 0.001, -0.001))
POSE = Transform(Rotation.from_euler("xyz", [0.3, -0.2, 1.0]), np.array([1.0, -2.0, 0.5]))


def plane_view(
    generator: np.random.Generator, count: int, slope: float
) -> tuple[ReferenceView, NDArray[np.float64]]:
    """A view of a slanted plane, and the plane in the camera's frame: n . x = 1."""
    normal = np.array([slope, -slope / 2, 1.0]) / 8.0
    pixels = generator.uniform((0, 0), (640, 480), (count, 2))
    rays = CAMERA.rays(pixels)
    points = rays / (rays @ normal)[:, None]
    return ReferenceView(CAMERA, POSE, pixels, POSE.inverse().apply(points)), normal


@given(seed=st.integers(0, 1000), slope=st.floats(-0.5, 0.5))
def test_points_of_a_plane_stay_on_it(seed: int, slope: float) -> None:
    """Inverse depth is linear in the image on any plane, up to distortion."""
    view, normal = plane_view(np.random.default_rng(seed), 300, slope)
    keypoints = np.random.default_rng(seed + 1).uniform((120, 100), (520, 380), (50, 2))
    lifted = lift(view, keypoints, 0.0, GeometricInference())
    in_camera = POSE.apply(lifted.points3d)
    np.testing.assert_allclose(in_camera @ normal, 1.0, atol=2e-3)
    np.testing.assert_allclose(CAMERA.project(in_camera), keypoints, atol=1e-6)
    assert not lifted.observed.any()
    assert ((lifted.confidence > 0) & (lifted.confidence <= 1)).all()


def test_near_an_observation_its_depth_on_the_own_ray_with_confidence_one() -> None:
    view, _ = plane_view(np.random.default_rng(3), 200, 0.3)
    keypoints = view.observations[:20] + 1.0
    lifted = lift(view, keypoints, 2.0, GeometricInference())
    assert lifted.observed.all()
    assert (lifted.confidence == 1.0).all()
    in_camera = POSE.apply(lifted.points3d)
    np.testing.assert_allclose(CAMERA.project(in_camera), keypoints, atol=1e-6)
    depths = POSE.apply(view.points3d[:20])[:, 2]
    np.testing.assert_allclose(in_camera[:, 2], depths, rtol=1e-9)


def test_across_a_depth_edge_confidence_falls() -> None:
    pixels = np.array([(x, y) for x in range(20, 640, 40) for y in range(20, 480, 40)], dtype=float)
    depth = np.where(pixels[:, 0] < 320, 4.0, 12.0)
    points = CAMERA.rays(pixels) * depth[:, None]
    view = ReferenceView(CAMERA, POSE, pixels, POSE.inverse().apply(points))
    lifted = lift(view, np.array([[160.0, 240.0], [320.0, 250.0]]), 0.0, GeometricInference())
    assert lifted.confidence[0] > 0.7
    assert lifted.confidence[1] < 0.1


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_observations(count: int) -> None:
    view, _ = plane_view(np.random.default_rng(0), count, 0.0)
    lifted = lift(view, np.array([[100.0, 100.0], [600.0, 400.0]]), 0.0, GeometricInference())
    if count == 0:
        assert np.isnan(lifted.points3d).all()
        assert (lifted.confidence == 0).all()
    else:
        assert np.isfinite(lifted.points3d).all()
        assert (lifted.confidence < 0.6).all()


def test_observations_on_one_line_and_behind_the_camera() -> None:
    pixels = np.array([[100.0, 240.0], [200.0, 240.0], [300.0, 240.0], [320.0, 240.0]])
    points = CAMERA.rays(pixels) * np.array([[5.0], [5.0], [5.0], [-5.0]])
    view = ReferenceView(CAMERA, POSE, pixels, POSE.inverse().apply(points))
    lifted = lift(view, np.array([[150.0, 260.0]]), 0.0, GeometricInference())
    assert POSE.apply(lifted.points3d)[0, 2] == pytest.approx(5.0)

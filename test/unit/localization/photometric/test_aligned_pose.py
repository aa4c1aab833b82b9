"""The covariance of aligned poses, against many runs whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.geometry.uncertainty import normalised_squared_errors, pose_error
from deviloc_ros.localization.covariance import image_cells
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.photometric.pose import PARTS, Uncertainty, aligned_pose
from deviloc_ros.localization.types import Correspondences

CAMERA = Camera("PINHOLE", 1024, 768, (800.0, 800.0, 512.0, 384.0))
TRUTH = Transform(Rotation.from_euler("xyz", [3, -20, 5], degrees=True), np.array([1.0, 2.0, 0.5]))
SIGMA = 0.3
COUNT = 500


def nees(shared: float, told: float, scale: float = 1.0, runs: int = 120) -> np.ndarray:
    """Return the NEES of position and rotation where parts of an image share an error."""
    camera = CAMERA.scaled(round(1024 * scale), round(768 * scale))
    values = []
    for seed in range(runs):
        generator = np.random.default_rng(seed)
        keypoints = generator.uniform((5, 5), (camera.width - 5, camera.height - 5), (COUNT, 2))
        depth = generator.uniform(4, 25, (COUNT, 1))
        points = TRUTH.inverse().apply(camera.rays(keypoints) * depth)
        sigma = SIGMA * scale * generator.uniform(0.5, 2.0, (COUNT, 1))
        _, part = np.unique(image_cells(keypoints, camera, PARTS), return_inverse=True)
        common = generator.normal(0, shared * scale, (int(part.max()) + 1, 2))[part]
        seen = keypoints + generator.normal(size=(COUNT, 2)) * sigma + common
        matches = Correspondences(
            seen, points, np.ones(COUNT), generator.integers(0, 5, COUNT), keypoints
        )
        covariance = sigma[:, :, None] ** 2 * np.eye(2)
        aligned = AlignedMatches(
            matches, covariance, np.ones(COUNT, dtype=np.bool_), np.ones(COUNT)
        )
        pose, told_covariance = aligned_pose(TRUTH, aligned, camera, scale, Uncertainty(told))
        assert told_covariance is not None
        error = pose_error(pose.inverse(), TRUTH.inverse())
        values.append(normalised_squared_errors(error, told_covariance.total))
    return np.asarray(np.mean(values, axis=0) / 3)


@pytest.mark.parametrize("scale", [1.0, 1.5], ids=["working size", "larger"])
def test_an_error_that_parts_share_is_counted(scale: float) -> None:
    told = nees(shared=0.15, told=0.15, scale=scale)
    assert (told > 0.6).all(), told
    assert (told < 1.3).all(), told
    assert (nees(shared=0.15, told=0.0, scale=scale) > 1.5).all()


def test_without_one_the_jackknife_is_right() -> None:
    # Places and references are both counted, so that independent errors are told a little large.
    told = nees(shared=0.0, told=0.0)
    assert (told > 0.4).all(), told
    assert (told < 1.2).all(), told


def test_the_users_factor_is_on_all_of_it() -> None:
    keypoints = np.random.default_rng(0).uniform((5, 5), (1000, 700), (COUNT, 2))
    points = TRUTH.inverse().apply(CAMERA.rays(keypoints) * 5.0)
    points[::2] *= 1.5
    noisy = CAMERA.project(TRUTH.apply(points)) + np.random.default_rng(1).normal(
        0, 0.3, (COUNT, 2)
    )
    matches = Correspondences(noisy, points, np.ones(COUNT), np.arange(COUNT) % 5, keypoints)
    aligned = AlignedMatches(
        matches, np.tile(np.eye(2), (COUNT, 1, 1)), np.ones(COUNT, np.bool_), np.ones(COUNT)
    )
    _, one = aligned_pose(TRUTH, aligned, CAMERA, 1.0, Uncertainty(0.1, 1.0))
    _, two = aligned_pose(TRUTH, aligned, CAMERA, 1.0, Uncertainty(0.1, 2.0))
    assert one is not None
    assert two is not None
    np.testing.assert_allclose(two.total, 2 * one.total, rtol=1e-9)
    np.testing.assert_allclose(two.of_pixel, 2 * np.array(one.of_pixel), rtol=1e-9)
    _, without = aligned_pose(TRUTH, aligned, CAMERA, 1.0, Uncertainty(0.0, 1.0))
    assert without is not None
    shared = one.total - without.total
    np.testing.assert_allclose(shared, 0.1**2 * one.of_pixel[0], rtol=1e-6, atol=1e-14)

"""The covariance of a pose, against many runs whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.config import PoseConfig
from deviloc_ros.evaluation.nees import Nees, nees
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.geometry.uncertainty import pose_error
from deviloc_ros.localization.covariance import m_estimate_covariance, pose_covariance
from deviloc_ros.localization.pose import PoseHypothesis, agreeing, estimate_pose
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.robot.base_pose import base_pose

PINHOLE = Camera("PINHOLE", 800, 600, (700.0, 710.0, 400.0, 300.0))
DISTORTED = Camera("OPENCV", 800, 600, (700.0, 710.0, 400.0, 300.0, -0.2, 0.05, 1e-3, -1e-3))
FISHEYE = Camera("OPENCV_FISHEYE", 800, 600, (300.0, 300.0, 400.0, 300.0, 0.02, 0.0, 0.0, 0.0))
MAP_FROM_CAMERA = Transform(Rotation.from_euler("zyx", [2.0, 0.2, -1.4]), np.array([40.0, -7, 1.6]))
BASE_FROM_CAMERA = Transform(Rotation.from_euler("zyx", [0.3, -0.1, 1.2]), np.array([1.0, 0.3, 2]))


def matches_of(
    camera: Camera,
    seed: int,
    count: int = 400,
    noise: float = 1.0,
    references: int = 1,
    reference_noise: float = 0.0,
    repeats: int = 1,
) -> Correspondences:
    """Return matches with a known kind of error.

    Args:
        camera: of the query.
        seed: of every random choice.
        count: different points.
        noise: of keypoints, pixels.
        references: where the points come from, in equal parts.
        reference_noise: what all points of a reference are wrong by, pixels.
        repeats: how many times every point comes, side by side, with one and the same error.
    """
    generator = np.random.default_rng(seed)
    keypoints = generator.uniform((20, 20), (780, 580), (count, 2))
    points = camera.rays(keypoints) * generator.uniform(4, 40, (count, 1))
    keypoints += generator.normal(0, noise, keypoints.shape)
    reference = np.arange(count) % references
    keypoints += generator.normal(0, reference_noise, (references, 2))[reference]
    return Correspondences(
        keypoints,
        MAP_FROM_CAMERA.apply(points),
        np.ones(count),
        reference,
        np.full((count, 2), np.nan),
    ).select(np.repeat(np.arange(count), repeats))


def solve(matches: Correspondences, camera: Camera) -> PoseHypothesis:
    pose = estimate_pose(matches, camera, PoseConfig(), 1.0, 0)
    assert pose is not None
    return pose


def many_runs(camera: Camera, runs: int = 150, **kind: float) -> tuple[Nees, Nees, Nees]:
    """Return the NEES of the camera's position and rotation, and of the base's position."""
    errors: list[NDArray[np.float64]] = []
    covariances: list[NDArray[np.float64]] = []
    of_base: list[NDArray[np.float64]] = []
    base_covariances: list[NDArray[np.float64]] = []
    for seed in range(runs):
        matches = matches_of(camera, seed, **kind)  # type: ignore[arg-type]
        pose = solve(matches, camera)
        covariance = pose_covariance(
            pose.camera_from_map, agreeing(pose, matches, camera), camera, 1.0, 1.0
        )
        assert covariance is not None
        estimate = pose.camera_from_map.inverse()
        errors.append(pose_error(estimate, MAP_FROM_CAMERA))
        covariances.append(covariance)
        base = base_pose(estimate, covariance, BASE_FROM_CAMERA)
        true_base = MAP_FROM_CAMERA @ BASE_FROM_CAMERA.inverse()
        of_base.append(pose_error(base.map_from_base, true_base))
        base_covariances.append(base.covariance)
    return (*nees(errors, covariances), nees(of_base, base_covariances)[0])


@pytest.mark.parametrize("camera", [PINHOLE, DISTORTED, FISHEYE], ids=lambda camera: camera.model)
def test_is_true_for_independent_errors(camera: Camera) -> None:
    """The mean of 150 runs with 3 degrees of freedom has a standard deviation of 0.07."""
    for part in many_runs(camera):
        assert 0.8 < part.mean < 1.25


def test_is_true_where_every_match_comes_eight_times() -> None:
    """A covariance that counts matches would be too small by a factor of 8."""
    for part in many_runs(PINHOLE, repeats=8):
        assert 0.8 < part.mean < 1.25


def test_knows_that_references_err_as_a_whole() -> None:
    """With ten references, whose errors the 400 matches hide in a covariance that counts them."""
    alone = many_runs(PINHOLE, runs=60, noise=0.3, references=1)
    together = many_runs(PINHOLE, runs=60, noise=0.3, references=10, reference_noise=1.0)
    for part, other in zip(together, alone, strict=True):
        assert 0.4 < part.median_ratio < 2.0
        assert 0.4 < other.median_ratio < 2.0


def test_grows_with_its_factor_and_needs_matches_in_several_places() -> None:
    matches = matches_of(PINHOLE, 0, noise=0.5)
    pose = solve(matches, PINHOLE)
    plain = pose_covariance(
        pose.camera_from_map, agreeing(pose, matches, PINHOLE), PINHOLE, 1.0, 1.0
    )
    scaled = pose_covariance(
        pose.camera_from_map, agreeing(pose, matches, PINHOLE), PINHOLE, 1.0, 4.0
    )
    assert plain is not None
    assert scaled is not None
    np.testing.assert_allclose(scaled, 4 * plain)
    corner = matches.select(np.flatnonzero((matches.keypoints < 100).all(axis=1)))
    assert len(corner) >= 4
    assert (
        pose_covariance(pose.camera_from_map, agreeing(pose, corner, PINHOLE), PINHOLE, 1.0, 1.0)
        is None
    )
    nothing = PoseHypothesis(pose.camera_from_map, np.zeros(400, dtype=bool), pose.residuals)
    assert (
        pose_covariance(
            nothing.camera_from_map, agreeing(nothing, matches, PINHOLE), PINHOLE, 1.0, 1.0
        )
        is None
    )


def test_independent_errors_of_many_references_are_counted_once() -> None:
    generator = np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        derivative = generator.normal(size=(1000, 2, 6))
        groups = generator.integers(0, 100, 1000), generator.integers(0, 60, 1000)
        covariance = m_estimate_covariance(
            derivative, generator.normal(size=(1000, 2)), np.ones(1000), groups, 100.0, 1.0
        )
        assert covariance is not None
        information = np.einsum("nai,naj->ij", derivative, derivative)
        ratios.append(np.trace(covariance @ information) / 6)
    # They are in the spread over places and in that over references: added, these give 2.05.
    assert 0.9 < np.mean(ratios) < 1.5

"""RANSAC-PnP, its covariance and its verification, on scenes with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig, PoseConfig, VerificationConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.attempt import ClusterPose
from deviloc_ros.localization.covariance import pose_covariance
from deviloc_ros.localization.pose import VOTERS, PoseHypothesis, agreeing, estimate_pose
from deviloc_ros.localization.types import Correspondences, FailureReason, PosePrior
from deviloc_ros.localization.verification.verify import image_coverage, verify

PINHOLE = Camera("PINHOLE", 800, 600, (700.0, 710.0, 400.0, 300.0))
DISTORTED = Camera("OPENCV", 800, 600, (700.0, 710.0, 400.0, 300.0, -0.2, 0.05, 1e-3, -1e-3))
FISHEYE = Camera("OPENCV_FISHEYE", 800, 600, (300.0, 300.0, 400.0, 300.0, 0.02, 0.0, 0.0, 0.0))
MAP_FROM_CAMERA = Transform(Rotation.from_euler("zyx", [2.0, 0.2, -1.4]), np.array([40.0, -7, 1.6]))


def scene(
    camera: Camera,
    seed: int = 0,
    count: int = 200,
    outliers: float = 0.0,
    noise: float = 0.0,
    map_from_camera: Transform = MAP_FROM_CAMERA,
) -> Correspondences:
    generator = np.random.default_rng(seed)
    keypoints = generator.uniform((20, 20), (780, 580), (count, 2))
    points = camera.rays(keypoints) * generator.uniform(4, 40, (count, 1))
    keypoints += generator.normal(0, noise, keypoints.shape)
    wrong = generator.random(count) < outliers
    keypoints[wrong] = generator.uniform((0, 0), (800, 600), (int(wrong.sum()), 2))
    return Correspondences(
        keypoints,
        map_from_camera.apply(points),
        np.ones(count),
        np.zeros(count, dtype=np.int64),
        np.full((count, 2), np.nan),
    )


def solve(matches: Correspondences, camera: Camera) -> PoseHypothesis:
    pose = estimate_pose(matches, camera, PoseConfig(), 1.0, 0)
    assert pose is not None
    return pose


@pytest.mark.parametrize("camera", [PINHOLE, DISTORTED, FISHEYE], ids=lambda camera: camera.model)
@pytest.mark.parametrize("offset", [0.0, 5e5])
def test_finds_the_pose_among_outliers_far_from_the_origin(camera: Camera, offset: float) -> None:
    """UTM coordinates are half a million metres from their origin."""
    truth = Transform(MAP_FROM_CAMERA.rotation, MAP_FROM_CAMERA.translation + offset)
    pose = solve(scene(camera, outliers=0.6, noise=0.3, map_from_camera=truth), camera)
    metres, degrees = pose.camera_from_map.inverse().distance_to(truth)
    assert metres < 0.05
    assert degrees < 0.1
    assert 70 <= pose.num_inliers <= 100


@pytest.mark.parametrize("outliers", [0.2, 0.6, 0.95])
def test_of_many_matches_all_that_agree_count(outliers: float) -> None:
    """Votes of some choose the pose; where few of those agree, all vote."""
    matches = scene(PINHOLE, count=5 * VOTERS, outliers=outliers, noise=0.3)
    pose = solve(matches, PINHOLE)
    metres, degrees = pose.camera_from_map.inverse().distance_to(MAP_FROM_CAMERA)
    assert metres < 0.05
    assert degrees < 0.05
    right = 5 * VOTERS * (1 - outliers)
    assert abs(pose.num_inliers - right) < 0.1 * right + 20


def test_is_deterministic_and_says_when_there_is_none() -> None:
    matches = scene(PINHOLE, outliers=0.5, noise=1.0)
    first, second = solve(matches, PINHOLE), solve(matches, PINHOLE)
    assert np.array_equal(first.camera_from_map.matrix, second.camera_from_map.matrix)
    few = matches.select(np.arange(3))
    assert estimate_pose(few, PINHOLE, PoseConfig(), 1.0, 0) is None


def judge(
    matches: Correspondences,
    rivals: list[PoseHypothesis] | None = None,
    prior: PosePrior | None = None,
    metric: bool = True,
    **limits: float,
) -> FailureReason | None:
    pose = solve(matches, PINHOLE)
    covariance = pose_covariance(
        pose.camera_from_map, agreeing(pose, matches, PINHOLE), PINHOLE, 1.0, 1.0
    )
    config = LocalizerConfig(verification=VerificationConfig.model_validate(limits))
    cluster = ClusterPose(pose, matches, matches)
    others = [ClusterPose(rival, matches, matches) for rival in rivals or []]
    doubt = verify(pose, cluster, others, None, covariance, PINHOLE, prior, metric, config)
    return None if doubt is None else doubt[0]


def test_verification_names_the_first_doubt() -> None:
    good = scene(PINHOLE, noise=0.5)
    assert judge(good) is None
    assert judge(good.select(np.arange(20))) is FailureReason.TOO_FEW_INLIERS
    many_wrong = scene(PINHOLE, count=600, outliers=0.93)
    assert judge(many_wrong, min_inlier_ratio=0.2) is FailureReason.LOW_INLIER_RATIO
    corner = good.select((good.keypoints < (250, 200)).all(axis=1))
    assert judge(corner, min_inliers=5, min_coverage=0.3) is FailureReason.POOR_COVERAGE
    assert judge(good, max_position_sigma=1e-5) is FailureReason.UNCERTAIN
    assert judge(good, max_position_sigma=1e-5, metric=False) is None


def test_a_rival_elsewhere_makes_it_ambiguous_and_one_beside_does_not() -> None:
    matches = scene(PINHOLE, noise=0.5)
    pose = solve(matches, PINHOLE)
    shift = Transform(Rotation.identity(), np.array([20.0, 0.0, 0.0]))
    elsewhere = PoseHypothesis(shift @ pose.camera_from_map, pose.inliers, pose.residuals)
    beside = PoseHypothesis(
        Transform(Rotation.identity(), np.array([0.02, 0.0, 0.0])) @ pose.camera_from_map,
        pose.inliers,
        pose.residuals,
    )
    assert judge(matches, [elsewhere]) is FailureReason.AMBIGUOUS
    assert judge(matches, [beside]) is None


def test_a_prior_is_held_against_the_pose() -> None:
    matches = scene(PINHOLE, noise=0.5)
    agreeing = PosePrior(MAP_FROM_CAMERA, 0.5, 0.05)
    moved = Transform(
        MAP_FROM_CAMERA.rotation, MAP_FROM_CAMERA.translation + np.array([9.0, 0.0, 0.0])
    )
    turned = Transform(
        Rotation.from_rotvec([0.0, 0.0, 1.0]) * MAP_FROM_CAMERA.rotation,
        MAP_FROM_CAMERA.translation,
    )
    assert judge(matches, prior=agreeing) is None
    assert judge(matches, prior=PosePrior(moved, 0.5, 0.05)) is FailureReason.AGAINST_PRIOR
    assert judge(matches, prior=PosePrior(turned, 0.5, 0.05)) is FailureReason.AGAINST_PRIOR
    assert judge(matches, prior=PosePrior(moved, 5.0, 0.05)) is None
    raised = Transform(
        MAP_FROM_CAMERA.rotation, MAP_FROM_CAMERA.translation + np.array([0.0, 0.0, 9.0])
    )
    assert judge(matches, prior=PosePrior(raised, 0.5, 0.05)) is FailureReason.AGAINST_PRIOR
    assert judge(matches, prior=PosePrior(raised, 0.5, 0.05, vertical_sigma=5.0)) is None
    moved_and_unsure_of_height = PosePrior(moved, 0.5, 0.05, vertical_sigma=5.0)
    assert judge(matches, prior=moved_and_unsure_of_height) is FailureReason.AGAINST_PRIOR


def test_a_prior_of_the_base_is_one_of_its_camera_with_the_lever_arm() -> None:
    lever = Transform(Rotation.from_euler("z", 1.0), np.array([0.0, 3.0, 4.0]))
    prior = PosePrior(MAP_FROM_CAMERA, 0.3, 0.08, vertical_sigma=2.0, num_references=2)
    of_camera = prior.of_camera(lever)
    expected = (MAP_FROM_CAMERA @ lever).matrix
    np.testing.assert_allclose(of_camera.map_from_body.matrix, expected)
    sigmas = [0.5, 0.5, np.hypot(2.0, 0.4)]
    np.testing.assert_allclose(of_camera.axis_sigmas, sigmas)
    np.testing.assert_allclose(prior.axis_sigmas, [0.3, 0.3, 2.0])
    assert of_camera.num_references == 2


def test_coverage_counts_cells() -> None:
    assert image_coverage(np.array([[10.0, 10.0], [12.0, 12.0]]), PINHOLE) == pytest.approx(1 / 64)
    grid = np.stack(np.meshgrid(np.arange(50, 800, 100), np.arange(37, 600, 75)), -1).reshape(-1, 2)
    assert image_coverage(grid.astype(float), PINHOLE) == 1.0

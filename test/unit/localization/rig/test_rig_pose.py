"""One pose of a base from the matches of several cameras without overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig, PoseConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.rig.evidence import weigh
from deviloc_ros.localization.rig.matches import RigMatches, gather
from deviloc_ros.localization.rig.pose import (
    RigHypothesis,
    estimate_rig_poses,
    rig_agreeing,
    rig_covariance,
)
from deviloc_ros.localization.types import Correspondences, FailureReason, PosePrior
from deviloc_ros.localization.verification.verify import judge
from deviloc_ros.simulation.drive import mounted

CAMERAS = (
    Camera("PINHOLE", 640, 480, (400.0, 410.0, 320.0, 240.0)),
    Camera("OPENCV", 640, 480, (400.0, 400.0, 320.0, 240.0, -0.2, 0.05, 1e-3, -1e-3)),
    Camera("OPENCV_FISHEYE", 640, 480, (250.0, 250.0, 320.0, 240.0, 0.02, 0.0, 0.0, 0.0)),
)
MOUNTS = (
    mounted(0.5, 0.6, 1.5, np.pi / 2),
    mounted(-1.0, 0.0, 1.6, np.pi),
    mounted(0.5, -0.6, 1.5, -np.pi / 2),
)
MAP_FROM_BASE = Transform(Rotation.from_euler("z", 0.7), np.array([300.0, -200.0, 40.0]))
CONFIG = LocalizerConfig()


def seen(
    index: int,
    count: int,
    seed: int,
    noise: float = 1.0,
    outliers: float = 0.3,
    cameras: tuple[Camera, ...] = CAMERAS,
) -> Correspondences:
    """Return what a camera of the rig would match."""
    generator = np.random.default_rng([seed, index])
    camera = cameras[index]
    size = camera.width, camera.height
    keypoints = generator.uniform((20, 20), (size[0] - 20, size[1] - 20), (count, 2))
    depth = generator.uniform(4, 25, (count, 1))
    points = (MAP_FROM_BASE @ MOUNTS[index]).apply(camera.rays(keypoints) * depth)
    keypoints += generator.normal(0, noise, keypoints.shape)
    wrong = generator.random(count) < outliers
    keypoints[wrong] = generator.uniform((0, 0), size, (int(wrong.sum()), 2))
    return Correspondences(
        keypoints,
        points,
        np.ones(count),
        generator.integers(0, 40, count) + 40 * index,
        np.zeros((count, 2)),
    )


def rig_of(
    counts: tuple[int, ...], seed: int = 0, noise: float = 1.0, outliers: float = 0.3
) -> RigMatches:
    parts = [(i, seen(i, count, seed, noise, outliers)) for i, count in enumerate(counts)]
    return gather(parts, CAMERAS, MOUNTS, 1024)


def solve(matches: RigMatches) -> RigHypothesis:
    return estimate_rig_poses(matches, PoseConfig(), CONFIG.verification, 0)[0]


def errors(pose: RigHypothesis) -> tuple[float, float]:
    return pose.base_from_map.inverse().distance_to(MAP_FROM_BASE)


@given(seed=st.integers(0, 500))
def test_derivative_is_that_of_moving_the_base(seed: int) -> None:
    matches = rig_of((15, 15, 15), seed, noise=0.0, outliers=0.0)
    base_from_map = MAP_FROM_BASE.inverse()
    _, jacobian = matches.linearise(base_from_map, matches.lens(base_from_map))
    for axis in range(6):
        delta = np.zeros(6)
        delta[axis] = 1e-5

        def moved(sign: float, delta: np.ndarray = delta) -> np.ndarray:
            pose = Transform(
                Rotation.from_rotvec(sign * delta[3:]) * MAP_FROM_BASE.rotation,
                MAP_FROM_BASE.translation + sign * delta[:3],
            )
            return matches.residuals(pose.inverse())

        expected = (moved(1) - moved(-1)) / 2e-5
        np.testing.assert_allclose(jacobian[:, :, axis], expected, rtol=2e-3, atol=0.5)


def test_together_they_are_better_than_the_best_alone() -> None:
    alone: list[list[float]] = [[], [], []]
    together = []
    for seed in range(15):
        together.append(errors(solve(rig_of((60, 60, 60), seed)))[0])
        for index in range(3):
            counts = tuple(60 if i == index else 0 for i in range(3))
            alone[index].append(errors(solve(rig_of(counts, seed)))[0])
    assert np.median(together) < 0.75 * min(np.median(each) for each in alone)


@pytest.mark.parametrize("counts", [(80, 0, 0), (0, 0, 80), (80, 3, 0), (20, 20, 20)])
def test_one_camera_is_enough_and_so_are_a_few_matches_of_each(counts: tuple[int, ...]) -> None:
    pose = solve(rig_of(counts, noise=0.5))
    metres, degrees = errors(pose)
    assert metres < 0.1
    assert degrees < 0.5
    assert 0.5 * sum(counts) <= pose.num_inliers <= 0.9 * sum(counts)


def test_a_camera_that_sees_something_else_changes_nothing_and_does_not_speak() -> None:
    parts = [(0, seen(0, 100, 1)), (1, seen(1, 400, 1, outliers=1.0)), (2, seen(2, 100, 1))]
    together = gather(parts, CAMERAS, MOUNTS, 1024)
    pose = solve(together)
    assert errors(pose)[0] < 0.1
    covariance = np.eye(6) * 1e-4
    evidence = weigh(pose, [], together, together, covariance, CONFIG)
    assert evidence.num_matches == 200
    assert evidence.num_inliers <= 160
    assert judge(evidence, None, True, CONFIG.verification) is None


def test_wrong_matches_of_blind_cameras_do_not_drown_the_right_ones() -> None:
    """70 of 2100 matches are right, and all of them are of one camera."""
    parts = [(i, seen(i, 1000, 1, outliers=1.0)) for i in (1, 2)]
    pose = solve(gather([*parts, (0, seen(0, 100, 1))], CAMERAS, MOUNTS, 1024))
    assert errors(pose)[0] < 0.1


def test_cameras_join_though_none_alone_is_precise_enough_for_the_others() -> None:
    """Of 9 degrees each: what one is wrong by shifts the others' projections far."""
    tele = (Camera("PINHOLE", 640, 480, (4000.0, 4000.0, 320.0, 240.0)),) * 3
    for seed in range(5):
        parts = [(i, seen(i, 80, seed, noise=1.5, cameras=tele)) for i in range(3)]
        together = gather(parts, tele, MOUNTS, 1024)
        best, *alone = estimate_rig_poses(together, PoseConfig(), CONFIG.verification, 0)
        of_camera = [np.count_nonzero(best.inliers[together.owner == i]) for i in range(3)]
        assert min(of_camera) > 45
        assert max(errors(best)[1], 0.05) < max(errors(pose)[1] for pose in alone)


def test_without_right_matches_there_are_too_few_inliers() -> None:
    together = gather([(i, seen(i, 200, 1, outliers=1.0)) for i in range(3)], CAMERAS, MOUNTS, 1024)
    evidence = weigh(solve(together), [], together, together, np.eye(6) * 1e-4, CONFIG)
    doubt = judge(evidence, None, True, CONFIG.verification)
    assert doubt is not None
    assert doubt[0] is FailureReason.TOO_FEW_INLIERS


def test_another_place_that_explains_the_images_makes_it_ambiguous() -> None:
    here, elsewhere = seen(0, 100, 1, outliers=0.0), seen(2, 90, 1, outliers=0.0)
    away = replace(elsewhere, points3d=elsewhere.points3d + np.array([40.0, 0.0, 0.0]))

    def doubt(second: Correspondences) -> tuple[FailureReason, str] | None:
        together = gather([(0, here), (2, second)], CAMERAS, MOUNTS, 1024)
        best, *rivals = estimate_rig_poses(together, PoseConfig(), CONFIG.verification, 0)
        evidence = weigh(best, rivals, together, together, np.eye(6) * 1e-4, CONFIG)
        return judge(evidence, None, True, CONFIG.verification)

    assert doubt(elsewhere) is None
    refused = doubt(away)
    assert refused is not None
    assert refused[0] is FailureReason.AMBIGUOUS


def test_what_the_pose_explains_does_not_speak_for_another_place() -> None:
    together = rig_of((100, 100, 100), outliers=0.0)
    best = solve(together)
    away = Transform(Rotation.identity(), np.array([40.0, 0.0, 0.0])) @ best.base_from_map
    rival = RigHypothesis(away, best.inliers)
    evidence = weigh(best, [rival], together, together, np.eye(6) * 1e-4, CONFIG)
    assert judge(evidence, None, True, CONFIG.verification) is None


def test_a_second_place_from_the_same_matches_makes_it_ambiguous() -> None:
    """As a facade that all cameras see looks the same one window further on."""
    generator = np.random.default_rng(3)

    def doubt(share: float) -> tuple[FailureReason, str] | None:
        together = rig_of((300, 300, 300), outliers=0.1)
        window = np.where(generator.random((len(together), 1)) < share, [[3.0, 0.0, 0.0]], 0.0)
        repeated = replace(together, points3d=together.points3d + window)
        evidence = weigh(solve(repeated), [], repeated, repeated, np.eye(6) * 1e-4, CONFIG)
        return judge(evidence, None, True, CONFIG.verification)

    assert doubt(0.1) is None
    refused = doubt(0.45)
    assert refused is not None
    assert refused[0] is FailureReason.AMBIGUOUS
    assert "3.0 away" in refused[1]


def test_covariance_is_that_of_many_runs() -> None:
    """Normalised squared errors average one per degree of freedom, over position and rotation."""
    whole = []
    for seed in range(100):
        matches = rig_of((80, 80, 80), seed, outliers=0.0)
        pose = solve(matches)
        covariance = rig_covariance(
            pose.base_from_map, matches.select(rig_agreeing(pose, matches, matches)), 1.0, 1.0
        )
        assert covariance is not None
        estimate = pose.base_from_map.inverse()
        shift = estimate.translation - MAP_FROM_BASE.translation
        turn = (estimate.rotation * MAP_FROM_BASE.rotation.inv()).as_rotvec()
        error = np.concatenate([shift, turn])
        whole.append(error @ np.linalg.solve(covariance, error) / 6)
    # Groups of two kinds count what is independent twice, so that the covariance is rather large.
    assert 0.4 < np.mean(whole) < 1.25


def test_large_images_are_judged_at_their_working_size() -> None:
    large = tuple(camera.scaled(2560, 1920) for camera in CAMERAS)
    parts = [(i, seen(i, 100, 3, noise=8.0, outliers=0.0, cameras=large)) for i in range(3)]
    matches = gather(parts, large, MOUNTS, 640)
    assert matches.cameras[1].width == 640
    # 8 px are 2 px at the working size, where the limit is 6 px.
    assert solve(matches).num_inliers > 285
    assert solve(gather(parts, large, MOUNTS, 4096)).num_inliers < 150


def test_the_same_matches_give_the_same_bits_and_too_few_give_none() -> None:
    matches = rig_of((50, 50, 50), outliers=0.6)
    first, second = solve(matches), solve(matches)
    assert np.array_equal(first.base_from_map.matrix, second.base_from_map.matrix)
    few = matches.select(np.arange(len(matches)) < 3)
    assert estimate_rig_poses(few, PoseConfig(), CONFIG.verification, 0) == []
    none = matches.select(np.zeros(len(matches), dtype=bool))
    assert estimate_rig_poses(none, PoseConfig(), CONFIG.verification, 0) == []


def test_a_prior_of_the_base_is_one_of_each_camera() -> None:
    prior = PosePrior(MAP_FROM_BASE, 0.3, 0.1)
    of_camera = prior.of_camera(MOUNTS[1])
    metres, degrees = of_camera.map_from_body.distance_to(MAP_FROM_BASE @ MOUNTS[1])
    assert metres < 1e-9
    assert degrees < 1e-9
    lever = np.linalg.norm(MOUNTS[1].translation)
    assert of_camera.position_sigma == pytest.approx(np.hypot(0.3, 0.1 * lever))

"""Chance, and a second place from the same matches, on matches with a known answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig, VerificationConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.attempt import ClusterPose
from deviloc_ros.localization.pose import agreement, estimate_pose
from deviloc_ros.localization.types import Correspondences, FailureReason, PosePrior
from deviloc_ros.localization.verification.evidence import (
    PATCH,
    PIECE,
    Agreement,
    log10_fair_vote,
    log10_false_alarms,
    log10_false_alarms_of_pixels,
    pieces_of,
)
from deviloc_ros.localization.verification.verify import verify

CAMERA = Camera("PINHOLE", 1024, 768, (900.0, 900.0, 512.0, 384.0))
SIZE = np.array([CAMERA.width, CAMERA.height])
CONFIG = LocalizerConfig()
THRESHOLD = CONFIG.pose.max_reprojection_error
MAP_FROM_CAMERA = Transform(Rotation.from_euler("zyx", [2.0, 0.2, -1.4]), np.array([40.0, -7, 1.6]))
WELL_KNOWN = np.eye(6) * 1e-4
PERIOD = 3.0
"""Width of a window and the wall beside it, metres."""


def matches_of(keypoints: NDArray[np.float64], points: NDArray[np.float64]) -> Correspondences:
    count = len(keypoints)
    nowhere = np.full((count, 2), np.nan)
    return Correspondences(
        keypoints, points, np.ones(count), np.zeros(count, dtype=np.int64), nowhere
    )


def seen(
    generator: np.random.Generator, keypoints: NDArray[np.float64], noise: float = 1.0
) -> Correspondences:
    """Return right matches of these keypoints, with points 8 to 40 m away."""
    depth = generator.uniform(8, 40, (len(keypoints), 1))
    points = MAP_FROM_CAMERA.apply(CAMERA.rays(keypoints) * depth)
    return matches_of(keypoints + generator.normal(0, noise, keypoints.shape), points)


def anywhere(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    return generator.uniform((0, 0), SIZE, (count, 2))


def wrong(generator: np.random.Generator, count: int) -> Correspondences:
    right = seen(generator, anywhere(generator, count))
    return replace(right, keypoints=anywhere(generator, count))


def together(*parts: Correspondences) -> Correspondences:
    return matches_of(
        np.concatenate([part.keypoints for part in parts]),
        np.concatenate([part.points3d for part in parts]),
    )


def doubt(matches: Correspondences, **limits: float) -> tuple[FailureReason, str] | None:
    """Return why the pose that RANSAC finds is not believed."""
    pose = estimate_pose(matches, CAMERA, CONFIG.pose, 1.0, 0)
    assert pose is not None
    verification = VerificationConfig.model_validate({"min_inliers": 4} | limits)
    config = CONFIG.model_copy(update={"verification": verification})
    cluster = ClusterPose(pose, matches, matches)
    return verify(pose, cluster, [], None, WELL_KNOWN, CAMERA, None, True, config)


def reason(matches: Correspondences, **limits: float) -> FailureReason | None:
    refused = doubt(matches, **limits)
    return None if refused is None else refused[0]


def alarms_of(matches: Correspondences, camera_from_map: Transform) -> float:
    residuals = agreement(camera_from_map, matches, CAMERA, THRESHOLD).residuals
    return log10_false_alarms(
        Agreement(
            np.linalg.norm(residuals, axis=1),
            pieces_of(matches.keypoints, 1.0),
            np.full(len(matches), float(SIZE.prod())),
            THRESHOLD,
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_third_of_the_matches_all_over_the_image_is_no_chance(seed: int) -> None:
    generator = np.random.default_rng(seed)
    right = seen(generator, anywhere(generator, 108))
    assert doubt(together(right, wrong(generator, 219))) is None


def test_a_majority_in_an_image_of_few_pieces_is_no_chance() -> None:
    """Small images: 40 of 60 matches agree, all in nine pieces."""
    generator = np.random.default_rng(0)
    near = np.array([300.0, 300.0]) + generator.uniform(0, 3 * PIECE, (40, 2))
    matches = together(seen(generator, near), wrong(generator, 20))
    assert reason(matches, min_inliers=30) is not FailureReason.CHANCE
    assert reason(matches, min_inliers=50) is not None


@pytest.mark.parametrize("seed", range(5))
def test_the_best_pose_of_wrong_matches_is_chance(seed: int) -> None:
    nothing = {"min_inlier_ratio": 0.0, "min_coverage": 0.0}
    generator = np.random.default_rng(seed)
    assert reason(wrong(generator, 400), **nothing) is FailureReason.CHANCE


@pytest.mark.parametrize("seed", range(5))
def test_many_matches_on_a_few_windows_are_few_pieces(seed: int) -> None:
    """47 of 320, as of a real night query that was 9.6 m off."""
    generator = np.random.default_rng(seed)
    windows = np.array([(300.0, 300.0), (396.0, 300.0), (300.0, 420.0), (396.0, 420.0)])
    corners = np.repeat(windows, 12, axis=0)[:47]
    near = corners + generator.uniform(-20, 20, corners.shape)
    refused = doubt(together(seen(generator, near), wrong(generator, 273)))
    assert refused is not None
    assert refused[0] is FailureReason.CHANCE
    assert "pieces of the image agree" in refused[1]


def test_matches_that_a_pose_has_guided_are_no_evidence_for_it() -> None:
    """They are looked for where it puts them, and agree with it if it is wrong, too."""
    generator = np.random.default_rng(0)
    right = seen(generator, anywhere(generator, 300))
    few = np.arange(300) < 8
    assert doubt(right) is None
    assert reason(replace(right, guided=~few), min_inliers=30) is FailureReason.CHANCE


def test_repeating_a_match_is_no_evidence() -> None:
    generator = np.random.default_rng(0)
    right = seen(generator, anywhere(generator, 20))
    repeated = together(*[right] * 8)
    camera_from_map = MAP_FROM_CAMERA.inverse()
    assert alarms_of(repeated, camera_from_map) >= alarms_of(right, camera_from_map) - 1e-9


def test_matches_that_crowd_around_a_pose_say_less() -> None:
    """So do those of something that looks alike and is not where the pose puts it."""
    generator = np.random.default_rng(0)
    right = seen(generator, anywhere(generator, 40))
    crowded = seen(generator, anywhere(generator, 400), noise=30.0)
    camera_from_map = MAP_FROM_CAMERA.inverse()
    apart = alarms_of(together(right, wrong(generator, 400)), camera_from_map)
    assert alarms_of(together(right, crowded), camera_from_map) > apart + 10


def test_exact_matches_say_more_than_inexact_ones() -> None:
    generator = np.random.default_rng(0)
    pixels, others = anywhere(generator, 40), wrong(generator, 300)
    camera_from_map = MAP_FROM_CAMERA.inverse()
    exact, inexact = (
        alarms_of(together(seen(generator, pixels, noise), others), camera_from_map)
        for noise in (0.3, 2.0)
    )
    assert exact < inexact - 10


def patches(generator: np.random.Generator, sharp: float) -> Agreement:
    """Return 200 aligned matches on one poster, of which a share is where the pose puts it."""
    errors = THRESHOLD * np.sqrt(generator.random(200))
    errors[generator.random(200) < sharp] *= 0.1
    keypoints = 300 + generator.uniform(0, 150, (200, 2))
    return Agreement(errors, pieces_of(keypoints, 1.0, PATCH), np.full(200, 1e6), THRESHOLD)


@pytest.mark.parametrize("seed", range(3))
def test_pixels_that_agree_speak_for_a_pose_on_one_poster(seed: int) -> None:
    generator = np.random.default_rng(seed)
    assert log10_false_alarms_of_pixels(patches(generator, 0.8)) < -18
    assert log10_false_alarms_of_pixels(patches(generator, 0.0)) > -3


def test_nothing_says_nothing() -> None:
    empty = np.zeros(0)
    assert log10_false_alarms(Agreement(empty, empty.astype(np.int64), empty, 6.0)) == 0.0
    behind = Agreement(np.full(9, np.nan), np.arange(9), np.full(9, 1e6), 6.0)
    assert log10_false_alarms(behind) > 0


def test_pieces_grow_with_the_image() -> None:
    keypoints = np.array([[1.0, 1.0], [PIECE - 1, PIECE - 1], [PIECE + 1, 1.0], [1.0, PIECE + 1]])
    first, same, right, below = pieces_of(keypoints, 1.0)
    assert first == same
    assert len({first, right, below}) == 3
    assert len(np.unique(pieces_of(keypoints, 2.0))) == 1


def facade(generator: np.random.Generator, shifted: float) -> Correspondences:
    """Return matches with a facade of like windows, a share of them with the next window."""
    camera = Transform(Rotation.from_euler("x", -90, degrees=True), np.zeros(3))
    points = np.stack(
        [
            generator.uniform(-9, 9, 600),
            20 + generator.choice([0.0, 0.3, -1.2], 600),
            generator.uniform(-7, 7, 600),
        ],
        axis=1,
    )
    keypoints = CAMERA.project(camera.inverse().apply(points))
    keypoints += generator.normal(0, 1, keypoints.shape)
    points[generator.random(600) < shifted, 0] += PERIOD
    return matches_of(keypoints, points)


@pytest.mark.parametrize("seed", range(3))
def test_a_facade_that_fits_one_window_further_on_as_well_is_ambiguous(seed: int) -> None:
    generator = np.random.default_rng(seed)
    assert doubt(facade(generator, 0.2)) is None
    refused = doubt(facade(generator, 0.45))
    assert refused is not None
    assert refused[0] is FailureReason.AMBIGUOUS
    assert f"{PERIOD:.1f} away" in refused[1]


def test_the_same_matches_raise_the_same_doubt() -> None:
    matches = facade(np.random.default_rng(0), 0.45)
    assert doubt(matches) == doubt(matches)


def test_a_prior_decides_between_two_places() -> None:
    matches = facade(np.random.default_rng(0), 0.45)
    camera = Transform(Rotation.from_euler("x", -90, degrees=True), np.zeros(3))
    pose = estimate_pose(matches, CAMERA, CONFIG.pose, 1.0, 0)
    assert pose is not None
    cluster = ClusterPose(pose, matches, matches)

    def judged(sigma: float) -> tuple[FailureReason, str] | None:
        prior = PosePrior(camera, sigma, 0.1)
        return verify(pose, cluster, [], None, WELL_KNOWN, CAMERA, prior, True, CONFIG)

    assert judged(0.3) is None
    refused = judged(3.0)
    assert refused is not None
    assert refused[0] is FailureReason.AMBIGUOUS


def test_a_second_place_is_not_asked_for_where_that_is_switched_off() -> None:
    matches = facade(np.random.default_rng(0), 0.45)
    assert reason(matches) is FailureReason.AMBIGUOUS
    assert reason(matches, max_rival_chance=1.0) is None


def test_the_vote_is_a_sign_test_of_pieces() -> None:
    pieces = np.repeat(np.arange(10), 30)
    areas = np.full(300, 1e6)
    best = Agreement(np.where(pieces < 8, 1.0, 50.0), pieces, areas, 6.0)
    rival = np.where(pieces < 8, 50.0, 1.0)
    # 8 of 10 coins or more: (45 + 10 + 1) / 1024.
    assert log10_fair_vote(best, rival) == pytest.approx(np.log10(56 / 1024))
    assert log10_fair_vote(best, best.errors) == 0.0
    assert log10_fair_vote(best, np.full(300, np.nan)) == pytest.approx(-8 * np.log10(2))

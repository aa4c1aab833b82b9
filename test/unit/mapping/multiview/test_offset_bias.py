"""The bias of fine offsets: measured between references, taken off a query's matches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.matching.semi_dense import SemiDenseMatcher
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Query
from deviloc_ros.mapping.multiview.epipolar import MIN_REFERENCES, estimate_bias
from deviloc_ros.mapping.multiview.matching import SeenAgain
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.offset_bias import OffsetBias, from_centre
from deviloc_ros.maps.reference import Reference

CAMERA = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))
SCALE = 0.77
CONSTANT, PULL = np.array([-0.95, -1.2]), np.array([0.1, -0.4])


def map_of(
    references: list[Reference],
    pixels: list[NDArray[np.float64]],
    points: NDArray[np.float64],
    observed: bool,
    descriptors: NDArray[np.float16] | None = None,
) -> Map:
    """Return a map in which every reference has a feature at every point."""
    count, each = len(references), len(points)
    offsets = np.arange(count + 1, dtype=np.int64)
    return Map(
        references=references,
        feature_offsets=offsets * each,
        keypoints=np.concatenate(pixels).astype(np.float32),
        descriptors=(
            np.zeros((count * each, 64), np.float16) if descriptors is None else descriptors
        ),
        levels=np.ones(count * each, dtype=np.uint8),
        feature_points=np.tile(points, (count, 1)).astype(np.float32),
        confidence=np.full(count * each, 1.0 if observed else 0.5, dtype=np.float16),
        global_descriptors=np.ones((count, 64), dtype=np.float16),
        codebook=np.ones((1, 64), dtype=np.float32),
        point_array=points.astype(np.float32),
        observation_offsets=offsets * 0,
        observation_points=np.zeros(0, dtype=np.int32),
        observation_pixels=np.zeros((0, 2), dtype=np.float32),
        origin=np.zeros(3),
        metric=True,
        gravity_aligned=False,
        calibration=Calibration(np.zeros((2, 2))),
    )


def matched(
    seed: int, references: int, observed: bool, spread: float = 0.0
) -> tuple[Map, dict[int, list[SeenAgain]]]:
    """Return a map and matches between its references, all on the fine level.

    Args:
        seed: of every random choice.
        references: how many, side by side.
        observed: whether the points' places are known, not only their rays.
        spread: by how much the pull differs from reference to reference; its mean is then zero.
    """
    generator = np.random.default_rng(seed)
    points = generator.uniform((-3, -2, 5), (3, 2, 12), (400, 3))
    poses = [
        Transform(
            Rotation.from_rotvec(generator.normal(0, 0.03, 3)), generator.uniform(-0.8, 0.8, 3)
        )
        for _ in range(references)
    ]
    pixels = [CAMERA.project(pose.apply(points)) for pose in poses]
    pulls = [PULL if not spread else generator.normal(0, spread, 2) for _ in poses]
    seen: dict[int, list[SeenAgain]] = {}
    for i in range(references):
        seen[i] = []
        for j in range(references):
            if i != j:
                bias = CONSTANT + pulls[i] * from_centre(pixels[j], CAMERA)
                noise = generator.normal(0, 0.5, (400, 2))
                keypoints = pixels[j] + (bias + noise) * SCALE
                seen[i].append(SeenAgain(j, 1, SCALE, np.arange(400), keypoints))
    named = [Reference(f"{i}", CAMERA, pose) for i, pose in enumerate(poses)]
    return map_of(named, pixels, points, observed), seen


@pytest.mark.parametrize("observed", [True, False])
def test_constant_and_pull_are_found(observed: bool) -> None:
    """From known points, and from epipolar lines alone."""
    bias = estimate_bias(*matched(0, 8, observed))
    np.testing.assert_allclose(bias.constant[1], CONSTANT, atol=0.05)
    np.testing.assert_allclose(bias.pull[1], PULL, atol=0.06)
    np.testing.assert_array_equal(bias.pull[0], 0.0)  # nobody saw anything on that level


def test_a_pull_that_references_do_not_agree_on_is_hardly_taken() -> None:
    """Each of ten references pulls strongly, in its own direction: the mean is chance."""
    squared = [
        (estimate_bias(*matched(seed, 10, observed=True, spread=0.4)).pull[1] ** 2).mean()
        for seed in range(12)
    ]
    plain = 0.4**2 / 10  # what the mean's square is on average
    assert np.mean(squared) < 0.6 * plain


def test_few_references_tell_nothing_of_the_pull() -> None:
    bias = estimate_bias(*matched(0, MIN_REFERENCES - 1, observed=True))
    np.testing.assert_array_equal(bias.pull, 0.0)
    np.testing.assert_allclose(bias.constant[1], CONSTANT, atol=0.15)


def test_bias_at_the_edges_is_constant_plus_pull() -> None:
    bias = OffsetBias(np.stack([CONSTANT, CONSTANT]), np.stack([0 * PULL, PULL]))
    corners = np.array([[0.0, 0.0], [320.0, 240.0], [640.0, 480.0]])
    np.testing.assert_allclose(
        bias.at(1, corners, CAMERA), [CONSTANT - PULL, CONSTANT, CONSTANT + PULL]
    )
    np.testing.assert_allclose(bias.at(0, corners, CAMERA), [CONSTANT] * 3)


def test_matches_are_freed_from_the_pull() -> None:
    """An image matched with itself: the map's pull moves every match by so much, none appears."""
    config = LocalizerConfig.model_validate({"device": "cpu", "features": {"num_keypoints": 512}})
    noise = np.random.default_rng(0).integers(0, 256, (60, 80)).astype(np.uint8)
    image = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
    (features,) = FeatureExtractor(config).extract([np.asarray(image, dtype=np.uint8)])
    keypoints = features.keypoints.numpy().astype(np.float64)
    points = CAMERA.rays(keypoints) * 5.0
    reference = Reference("a", CAMERA, Transform(Rotation.identity(), np.zeros(3)))
    descriptors = features.descriptors.numpy().astype(np.float16)
    plain = map_of([reference], [keypoints], points, True, descriptors)
    pull = np.array([[0.5, -1.0], [0.2, -0.6]])
    pulled = plain.with_calibration(Calibration(np.zeros((2, 2)), offset_pull=pull))
    query, only = Query(features, CAMERA, None), np.array([0])
    before, after = (
        SemiDenseMatcher(item, config)(query, [only], StageClock()) for item in (plain, pulled)
    )
    assert len(before) > 100
    np.testing.assert_array_equal(before.points3d, after.points3d)
    shift = before.keypoints - after.keypoints
    scales = {level: float(features.scales[features.levels == level][0]) for level in (0, 1)}
    place = from_centre(before.keypoints, CAMERA)
    expected = np.stack([pull[level] * place * scales[level] for level in (0, 1)])
    # The pull is that at the cell, a few pixels from the refined match.
    np.testing.assert_allclose(np.abs(expected - shift).max(axis=2).min(axis=0), 0.0, atol=0.03)
    assert np.abs(shift).max() > 0.3

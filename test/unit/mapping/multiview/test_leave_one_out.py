"""Depths as they would be had an image not been in the map, and what calibration makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_consistency import World

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import AlignmentEvidence, Correspondences, PoseEstimate
from deviloc_ros.mapping import covariance_calibration
from deviloc_ros.mapping.multiview.consistency import make_consistent
from deviloc_ros.mapping.multiview.leave_one_out import EditableMap, LeftOut
from deviloc_ros.maps.map import Map

ARRAYS = ("feature_points", "confidence", "depth_sigma")


def maps(left_out: LeftOut, whole: Map, images: Sequence[int]) -> Iterator[tuple[int, Map]]:
    """Yield each of the images, and the map without what it says of depths."""
    editable = EditableMap(whole)
    for image in images:
        with editable.with_depths(left_out.of(image)) as without:
            yield image, without


def made(world: World, left_out: LeftOut | None = None, blind: int | None = None) -> Map:
    """Return the world's map made consistent; an image is `blind` where nothing is found in it."""

    def match(index: int, neighbours: np.ndarray) -> list:
        return [
            replace(seen, feature=seen.feature[:0], keypoints=seen.keypoints[:0])
            if seen.neighbour == blind
            else seen
            for seen in world(index, neighbours)
        ]

    return make_consistent(world.map(0, depth_error=1.3), LocalizerConfig(), match, left_out)


def test_an_image_that_is_left_out_has_no_part_in_depths() -> None:
    world, left_out = World(5, 0.2), LeftOut([1, 3])
    whole = made(world, left_out)
    before = {name: np.array(getattr(whole, name)) for name in ARRAYS}
    seen = []
    for image, without in maps(left_out, whole, [0, 1, 3]):
        seen.append(image)
        changed = any((getattr(without, name) != before[name]).any() for name in ARRAYS)
        assert changed == (image != 0)
        # Where it finds nothing, it has no part in them either; biases hardly differ.
        expected = made(world, blind=image) if image else whole
        others = np.arange(1200) // 300 != image
        distance = np.linalg.norm(without.feature_points - expected.feature_points, axis=1)
        assert np.quantile(distance[others], 0.95) < 0.05
        assert distance[others].max() < 1.0
        np.testing.assert_array_equal(without.keypoints, whole.keypoints)
    assert seen == [0, 1, 3]
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(whole, name), before[name])


def test_one_image_after_the_other_is_left_out_not_all_of_them() -> None:
    left_out = LeftOut([0, 2])
    whole = made(World(6, 0.0), left_out)
    first = {image: np.array(m.feature_points) for image, m in maps(left_out, whole, [0, 2])}
    second = {image: np.array(m.feature_points) for image, m in maps(left_out, whole, [2, 0])}
    for image in (0, 2):
        np.testing.assert_array_equal(first[image], second[image])


@pytest.mark.parametrize("wrong", [0, 4])
def test_given_poses_that_are_wrong_do_not_make_all_others_look_uncertain(
    wrong: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(1)
    unit = np.diag([1.0, 1.0, 1.0, 0.1, 0.1, 0.1]) * 0.01
    jackknife, shared = 0.01**2 * unit, 0.2**2 * unit
    errors = generator.multivariate_normal(np.zeros(6), jackknife + shared, 40)
    errors[:wrong] *= 30.0

    class OfMap:
        def __init__(self, reference_map: Map, _: LocalizerConfig) -> None:
            self.map = reference_map

    def localized(localizer: OfMap, query: int, _: LocalizerConfig) -> PoseEstimate:
        assert localizer.map.calibration.aligned_shared_error == 0.0
        nothing = np.zeros((0, 3))
        no_matches = Correspondences(nothing[:, :2], nothing, *np.zeros((2, 0)), nothing[:, :2])
        truth = localizer.map.references[0].camera_from_map.inverse()
        turn = Rotation.from_rotvec(errors[query, 3:]) * truth.rotation
        return PoseEstimate(
            Transform(turn, truth.translation + errors[query, :3]).inverse(),
            jackknife, no_matches, np.zeros(0, np.bool_), no_matches, (), {},
            AlignmentEvidence(0, 0.0, unit, unit),
        )  # fmt: skip

    monkeypatch.setattr(covariance_calibration, "Localizer", OfMap)
    monkeypatch.setattr(covariance_calibration, "localize_own", localized)
    place = made(World(7, 0.0))
    place = replace(place, references=[place.references[0]] * 40)
    found, number = covariance_calibration.shared_error(
        place, np.arange(40), LocalizerConfig(), LeftOut()
    )
    assert number == 40
    assert found == pytest.approx(0.2, rel=0.2)

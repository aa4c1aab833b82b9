"""Matches on a textured plane come to lie where the images say, and the pose with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planar_map import (
    CAMERA,
    CONFIG,
    LARGER,
    TRUTH,
    matches,
    place,
    plane,
    query,
)
from small_map import small_map

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.photometric.aligner import Aligner, reduced_to, sampled
from deviloc_ros.localization.photometric.matches import AlignedMatches, decisive
from deviloc_ros.localization.photometric.pose import (
    LIGHT_ERROR,
    Uncertainty,
    aligned_pose,
    light_error_of,
)
from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.types import Correspondences


@pytest.mark.parametrize("camera", [CAMERA, LARGER], ids=["working size", "larger"])
def test_an_error_that_all_matches_share_is_taken_away(camera: Camera) -> None:
    painted = plane()
    aligner = Aligner(place(painted), CONFIG)
    given = matches(camera, error=0.8)
    found = aligner(query(camera, painted), TRUTH, given)
    assert found.found.mean() > 0.8
    np.testing.assert_array_equal(found.matches.points3d, given.points3d)
    left = ~found.found
    np.testing.assert_array_equal(found.matches.keypoints[left], given.keypoints[left])
    scale = camera.width / CAMERA.width
    errors = found.matches.keypoints - camera.project(TRUTH.apply(found.matches.points3d))
    assert np.median(np.linalg.norm(errors, axis=1)[found.found]) < 0.12 * scale
    whitened = (found.whitening @ errors[:, :, None])[:, :, 0]
    assert np.mean(whitened**2) < 1.5
    pose, covariance = aligned_pose(TRUTH, found, camera, scale, Uncertainty(0.1))
    metres, degrees = pose.inverse().distance_to(TRUTH.inverse())
    assert metres < 0.005
    assert degrees < 0.05
    assert covariance is not None


@pytest.mark.parametrize("light", ["dimmer", "from another side"])
def test_light_from_another_side_is_told_from_exposure(light: str) -> None:
    painted = plane()
    seen = query(CAMERA, painted)
    assert seen.image is not None
    change = np.full(400, 0.6)
    if light == "from another side":
        change[:200] = 1.0
    image = np.clip((seen.image - 128.0) * change + 110, 0, 255).astype(np.uint8)
    found = Aligner(place(painted), CONFIG)(replace(seen, image=image), TRUTH, matches(CAMERA, 0.0))
    assert found.num_found > 200
    # Half of the patches have log 0.6 less contrast than the others.
    expected = 0.0 if light == "dimmer" else -np.log(0.6) / 2
    assert found.light_change == pytest.approx(expected, abs=0.06)
    size = Uncertainty(0.1).shared_error_of(found)
    np.testing.assert_allclose(light_error_of(found), LIGHT_ERROR * found.light_change)
    np.testing.assert_allclose(size, 0.1)
    assert size.shape == light_error_of(found).shape == (400,)


def test_without_matches_light_has_not_changed() -> None:
    none = matches(CAMERA, 0.0, 5)
    found = AlignedMatches(none, np.zeros((5, 2, 2)), np.zeros(5, np.bool_), np.zeros(5))
    assert found.light_change == 0.0


def test_whitening_undoes_the_covariance() -> None:
    generator = np.random.default_rng(0)
    half = generator.normal(size=(20, 2, 2))
    covariance = half @ half.transpose(0, 2, 1) + 0.01 * np.eye(2)
    none = matches(CAMERA, 0.0, 20)
    whitening = AlignedMatches(none, covariance, np.ones(20, np.bool_), np.ones(20)).whitening
    np.testing.assert_allclose(
        whitening @ covariance @ whitening.transpose(0, 2, 1), np.tile(np.eye(2), (20, 1, 1)),
        atol=1e-9,
    )  # fmt: skip


def test_another_place_is_not_found() -> None:
    aligner = Aligner(place(plane()), CONFIG)
    found = aligner(query(CAMERA, plane(seed=1)), TRUTH, matches(CAMERA, 0.0))
    assert np.count_nonzero(found.found) < 20
    # What few were found do not tell a pose alone.
    (of_one,) = decisive([found])
    assert len(of_one.found) == len(found.found)


def test_cameras_that_find_nothing_leave_the_pose_to_the_others() -> None:
    painted = plane()
    aligner = Aligner(place(painted), CONFIG)
    found, not_found = (
        aligner(query(CAMERA, seen), TRUTH, matches(CAMERA, 0.0)) for seen in (painted, plane(1))
    )
    told = decisive([found, not_found])
    assert [len(part.found) for part in told] == [found.num_found, not_found.num_found]
    np.testing.assert_array_equal(told[0].whitening, found.whitening[found.found])


def test_what_was_moved_does_not_pull_the_pose_along() -> None:
    painted = plane()
    given = matches(CAMERA, 0.0)
    # Half of the matches are of a thing that now stands elsewhere, too far for patches to find.
    moved = given.keypoints[:, 0] < np.median(given.keypoints[:, 0])
    given.keypoints[moved] += (9.0, 0.0)
    found = Aligner(place(painted), CONFIG)(query(CAMERA, painted), TRUTH, given)
    pose, _ = aligned_pose(TRUTH, found, CAMERA, 1.0, Uncertainty(0.1))
    metres, degrees = pose.inverse().distance_to(TRUTH.inverse())
    # Were they kept, at UNFOUND_SIGMA, the pose would be off by 8 mm and 0.12 degrees.
    assert metres < 0.003
    assert degrees < 0.05


def test_no_more_matches_are_aligned_than_asked_for_and_all_references_have_a_share() -> None:
    painted = plane()
    few = build(LocalizerConfig, {"features.max_size": 400, "alignment.num_matches": 50}, "test")
    found = Aligner(place(painted), few)(query(CAMERA, painted), TRUTH, matches(CAMERA, 0.0))
    assert len(found.found) == 50
    assert set(found.matches.reference) == {0, 1}


def test_without_matches_nothing_is_found() -> None:
    painted = plane()
    aligner = Aligner(place(painted), CONFIG)
    none = matches(CAMERA, 0.0).select(np.zeros(400, dtype=np.bool_))
    found = aligner(query(CAMERA, painted), TRUTH, none)
    assert not len(found.found)
    pose, covariance = aligned_pose(TRUTH, found, CAMERA, 1.0, Uncertainty(0.1))
    assert covariance is None
    assert pose.distance_to(TRUTH) == (0.0, 0.0)


def test_a_map_without_images_says_so() -> None:
    aligner = Aligner(small_map(), CONFIG)
    with pytest.raises(InputError, match="holds no images"):
        aligner(query(CAMERA, plane()), TRUTH, matches(CAMERA, 0.0))


def test_images_are_reduced_but_never_enlarged() -> None:
    image = np.zeros((300, 400), dtype=np.uint8)
    assert reduced_to(image, 200).shape == (150, 200)
    assert reduced_to(image, 400) is image
    assert reduced_to(image, 1000) is image


def test_a_localizer_says_that_an_older_map_is_not_aligned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    older = small_map()
    assert Pipeline.of(older, CONFIG).align is None
    assert "holds no images" in caplog.text
    caplog.clear()
    off = build(LocalizerConfig, {"alignment.enabled": False}, "test")
    assert Pipeline.of(older, off).align is None
    assert Pipeline.of(replace(place(plane()), depth_sigma=np.zeros(10, np.float16)), CONFIG).align
    assert not caplog.text


def test_which_matches_are_aligned_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(0, 200, (900, 2)) * 4.0 + 3.5
    matches = Correspondences(
        rng.uniform(0, 400, (900, 2)), rng.normal(size=(900, 3)), np.ones(900),
        rng.integers(0, 5, 900), places,
    )  # fmt: skip

    def taken(given: Correspondences) -> set[tuple[float, ...]]:
        chosen = sampled(given, 300)
        assert len(chosen) == 300
        return set(zip(*chosen.keypoints.T, strict=True))

    expected = taken(matches)
    assert taken(matches.select(rng.permutation(900))) == expected
    assert len(taken(matches.select(np.arange(5, 900))) & expected) >= 295
    # They are of the whole image and of all references, and stay in their order.
    few = sampled(matches, 300)
    assert (np.bincount(few.reference) > 35).all()
    np.testing.assert_allclose(few.reference_keypoints.mean(axis=0), 400, atol=50)
    order = {tuple(place): i for i, place in enumerate(matches.keypoints.tolist())}
    assert np.all(np.diff([order[tuple(place)] for place in few.keypoints.tolist()]) > 0)
    assert sampled(few, 300) is few

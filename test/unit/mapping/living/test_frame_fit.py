"""How two frames lie to each other, from images that are localized in both."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.living.frame_fit import InBoth, fit_frames

SIGMA = 0.005


def poses(count: int, seed: int = 0) -> list[Transform]:
    generator = np.random.default_rng(seed)
    return [
        Transform(Rotation.random(rng=generator), generator.normal(size=3) * 10)
        for _ in range(count)
    ]


def seen_in(frame: Similarity, source: list[Transform], seed: int = 1) -> list[Transform]:
    """Return the poses in another frame, as localization finds them: 5 mm and 0.02 deg off."""
    generator = np.random.default_rng(seed)
    found = []
    for pose in source:
        moved = frame.camera_pose(pose).inverse()
        turn = Rotation.from_rotvec(generator.normal(size=3) * np.radians(0.02))
        shift = generator.normal(size=3) * SIGMA
        found.append(Transform(turn * moved.rotation, moved.translation + shift).inverse())
    return found


def in_both(source: list[Transform], target: list[Transform], sigma: float = SIGMA) -> list[InBoth]:
    return [InBoth(one, other, sigma) for one, other in zip(source, target, strict=True)]


def test_a_similarity_is_found() -> None:
    true = Similarity(2.5, Rotation.from_euler("xyz", [10, 20, 30], degrees=True), np.ones(3))
    source = poses(20)
    target = seen_in(true, source)
    target[3] = poses(1, 9)[0]  # localized in a wrong place
    fit = fit_frames(in_both(source, target), False, "b.devmap")
    assert not fit.same_frame
    assert fit.num_agreeing == 19
    assert fit.target_from_source.scale == pytest.approx(2.5, rel=1e-3)
    assert fit.position_residual < 3 * SIGMA
    points = np.random.default_rng(2).normal(size=(5, 3)) * 10
    apart = fit.target_from_source.apply(points) - true.apply(points)
    assert np.abs(apart).max() < 5 * SIGMA


def test_one_frame_is_seen_to_be_one() -> None:
    source = poses(20)
    fit = fit_frames(in_both(source, seen_in(Similarity.identity(), source)), True, "model")
    assert fit.same_frame
    assert fit.target_from_source.scale == 1.0
    assert not fit.target_from_source.translation.any()


def test_a_shift_of_some_centimetres_is_not_taken_for_one_frame() -> None:
    shifted = Similarity(1.0, Rotation.identity(), np.array([0.05, 0, 0]))
    source = poses(20)
    fit = fit_frames(in_both(source, seen_in(shifted, source)), True, "model")
    assert not fit.same_frame
    np.testing.assert_allclose(fit.target_from_source.translation, [0.05, 0, 0], atol=0.01)


def test_a_frame_that_is_given_as_the_same_is_kept_but_not_against_what_is_seen() -> None:
    shifted = Similarity(1.0, Rotation.identity(), np.array([0.05, 0, 0]))
    source = poses(20)
    fit = fit_frames(in_both(source, seen_in(shifted, source)), True, "model", given_same=True)
    assert fit.same_frame
    assert not fit.target_from_source.translation.any()
    assert fit.position_residual == pytest.approx(0.05, abs=0.01)
    far = Similarity(1.0, Rotation.identity(), np.array([500.0, 0, 0]))
    with pytest.raises(NothingFoundError, match="model: is not in that frame"):
        fit_frames(in_both(source, seen_in(far, source)), True, "model", given_same=True)


def test_too_few_or_contradicting_images_give_no_frame() -> None:
    source = poses(20)
    with pytest.raises(NothingFoundError, match=r"b\.devmap: 2 of its images can be localized"):
        fit_frames(in_both(source[:2], source[:2]), True, "b.devmap")
    with pytest.raises(NothingFoundError, match="do not agree on a frame"):
        fit_frames(in_both(source, poses(20, 5)), True, "b.devmap")


def test_images_that_are_known_well_decide() -> None:
    """Half of the images see the other frame from afar, and all err to the same side."""
    source = poses(20)
    moved = Similarity(1.0, Rotation.identity(), np.array([2.0, 0, 0]))
    biased = Similarity(1.0, Rotation.identity(), np.array([2.1, 0, 0]))
    images = in_both(source[:10], seen_in(moved, source[:10]))
    images += in_both(source[10:], seen_in(biased, source[10:]), 0.1)
    fit = fit_frames(images, True, "b.devmap")
    np.testing.assert_allclose(fit.target_from_source.translation, [2.0, 0, 0], atol=0.01)
    assert fit.position_residual < 3 * SIGMA

"""Similarity transforms, and finding them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.similarity_fit import (
    UnderdeterminedError,
    extents,
    fit_cameras,
    fit_positions,
    umeyama,
)
from deviloc_ros.geometry.transform import Transform

similarities = st.builds(
    lambda scale, vector, translation: Similarity(
        scale, Rotation.from_rotvec(vector), np.array(translation)
    ),
    st.floats(0.05, 20),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(-1e4, 1e4)] * 3),
)
seeds = st.integers(0, 2**32 - 1)


def _points(seed: int, count: int = 12) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(count, 3)) * (5, 3, 1)


def _cameras(seed: int, centres: NDArray[np.float64]) -> list[Transform]:
    rotations = Rotation.random(len(centres), rng=np.random.default_rng(seed))
    return [Transform(r, -r.apply(c)) for r, c in zip(rotations, centres, strict=True)]


def _assert_same(found: Similarity, truth: Similarity, tolerance: float = 1e-6) -> None:
    assert found.scale == pytest.approx(truth.scale, rel=tolerance)
    assert (found.rotation.inv() * truth.rotation).magnitude() < tolerance
    size = 1 + np.abs(truth.translation).max()
    np.testing.assert_allclose(found.translation, truth.translation, atol=tolerance * size)


@given(similarities, similarities, seeds)
def test_similarities_form_a_group(a: Similarity, b: Similarity, seed: int) -> None:
    points = _points(seed)
    np.testing.assert_allclose(a.inverse().apply(a.apply(points)), points, atol=1e-6)
    np.testing.assert_allclose(
        (a @ b).apply(points), a.apply(b.apply(points)), rtol=1e-9, atol=1e-6
    )


@given(similarities, seeds)
def test_a_moved_camera_sees_the_moved_points_along_the_same_rays(
    move: Similarity, seed: int
) -> None:
    points = _points(seed)
    (camera,) = _cameras(seed, np.array([[1.0, 2.0, 3.0]]))
    before = camera.apply(points)
    after = move.camera_pose(camera).apply(move.apply(points))
    np.testing.assert_allclose(after, move.scale * before, rtol=1e-6, atol=1e-5)


@given(similarities, seeds)
def test_exact_positions_give_back_the_transform(truth: Similarity, seed: int) -> None:
    points = _points(seed)
    fit = fit_positions(points, truth.apply(points))
    _assert_same(fit.target_from_source, truth)
    assert fit.inliers.all()


@settings(max_examples=25)
@given(similarities, seeds)
def test_wrong_positions_are_found_and_left_out(truth: Similarity, seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = _points(seed, 20)
    target = truth.apply(points) + truth.scale * generator.normal(size=(20, 3)) * 0.001
    wrong = generator.permutation(20)[:8]
    target[wrong] += truth.scale * (5 + generator.random((8, 3)) * 20)
    fit = fit_positions(points, target)
    _assert_same(fit.target_from_source, truth, tolerance=0.01)
    assert not fit.inliers[wrong].any()
    assert (fit.residuals[wrong] > truth.scale).all()


@given(similarities, seeds)
def test_cameras_on_one_line_suffice_with_their_orientations(truth: Similarity, seed: int) -> None:
    line = np.outer(np.arange(6.0), (1, 2, 0.5))
    cameras = _cameras(seed, line)
    fit = fit_cameras(cameras, [truth.camera_pose(camera) for camera in cameras])
    _assert_same(fit.target_from_source, truth)


@settings(max_examples=25)
@given(similarities, seeds)
def test_wrong_cameras_are_found_and_left_out(truth: Similarity, seed: int) -> None:
    cameras = _cameras(seed, _points(seed, 15))
    target = [truth.camera_pose(camera) for camera in cameras]
    target[3:8] = [truth.camera_pose(camera) for camera in _cameras(seed + 1, _points(1, 5) + 50)]
    fit = fit_cameras(cameras, target)
    _assert_same(fit.target_from_source, truth)
    np.testing.assert_array_equal(np.flatnonzero(~fit.inliers), np.arange(3, 8))


def test_a_fixed_scale_stays_one() -> None:
    points = _points(0)
    truth = Similarity(1.0, Rotation.from_rotvec([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]))
    stretched = 1.01 * points
    assert fit_positions(stretched, truth.apply(points), True).target_from_source.scale == 1
    cameras = _cameras(0, points)
    moved = [truth.camera_pose(camera) for camera in cameras]
    _assert_same(fit_cameras(cameras, moved, fixed_scale=True).target_from_source, truth)


def test_mirrored_points_are_not_fitted_by_a_reflection() -> None:
    points = _points(0)
    found = umeyama(points, points * (1, 1, -1))
    assert found is not None
    assert np.linalg.det(found.rotation.as_matrix()) == pytest.approx(1)


@pytest.mark.parametrize(
    "points",
    [
        np.empty((0, 3)),
        _points(0, 2),
        np.outer(np.arange(10.0), (1, 2, 3)),
        np.outer(np.arange(3.0), (1, 0, 0)) + 1e6,
        np.ones((5, 3)),
    ],
    ids=["none", "two", "a line", "a line far away", "one place"],
)
def test_what_does_not_hold_a_transform_is_refused(points: NDArray[np.float64]) -> None:
    with pytest.raises(UnderdeterminedError):
        fit_positions(points, points)


def test_cameras_in_one_place_give_no_scale() -> None:
    cameras = _cameras(0, np.ones((5, 3)))
    with pytest.raises(UnderdeterminedError, match="scale"):
        fit_cameras(cameras, cameras)
    with pytest.raises(UnderdeterminedError, match="0 poses"):
        fit_cameras([], [])


def test_the_search_is_deterministic() -> None:
    generator = np.random.default_rng(0)
    points, noise = generator.normal(size=(2, 60, 3))
    first, second = (fit_positions(points, points + 0.1 * noise) for _ in range(2))
    np.testing.assert_array_equal(first.residuals, second.residuals)


def test_extents_are_sorted_standard_deviations() -> None:
    points = np.array([[3, 0, 0], [-3, 0, 0], [0, 0, 4], [0, 0, -4.0]])
    np.testing.assert_allclose(extents(points), [np.sqrt(8), np.sqrt(4.5), 0], atol=1e-12)

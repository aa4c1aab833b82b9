"""References of a map that see the same surface agree on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.ray_triangulation import triangulate_on_rays
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.consistency import confidence_of, sigma_of
from deviloc_ros.mapping.fusion import Measurements, fuse

CAMERA = Camera("OPENCV", 640, 480, (500.0, 510.0, 320.0, 240.0, 0.05, -0.02, 0.001, -0.001))


def two_views(seed: int, scale: float = 1.0):
    """Rays of a first view, depths on them, and where a second view sees the points."""
    generator = np.random.default_rng(seed)
    turn = Rotation.from_rotvec(generator.normal(0, 0.05, 3))
    second_from_first = Transform(turn, scale * generator.uniform(-0.5, 0.5, 3))
    rays = CAMERA.rays(generator.uniform((100, 100), (540, 380), (60, 2)))
    depth = scale * generator.uniform(3.0, 12.0, 60)
    pixels = CAMERA.project(second_from_first.apply(rays * depth[:, None]))
    return rays, second_from_first, depth, pixels


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100.0))
@settings(max_examples=30, deadline=None)
def test_exact_matches_give_exact_depths_in_any_unit(seed: int, scale: float) -> None:
    rays, second_from_first, depth, pixels = two_views(seed, scale)
    measured = triangulate_on_rays(rays, CAMERA, second_from_first, pixels)
    np.testing.assert_allclose(1 / measured.inverse_depth, depth, rtol=1e-6)
    assert np.abs(measured.residual).max() < 1e-5


def test_sigma_is_the_error_that_a_pixel_makes() -> None:
    rays, second_from_first, depth, pixels = two_views(3)
    # Without distortion, so that a pixel is a pixel of the undistorted image.
    pinhole = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))
    pixels = pinhole.project(second_from_first.apply(rays * depth[:, None]))
    exact = triangulate_on_rays(rays, pinhole, second_from_first, pixels)
    along = np.stack([exact.across[:, 1], -exact.across[:, 0]], axis=1)
    moved = triangulate_on_rays(rays, pinhole, second_from_first, pixels + 0.1 * along)
    change = np.abs(moved.inverse_depth - exact.inverse_depth)
    np.testing.assert_allclose(change, 0.1 * exact.sigma, rtol=0.05)
    assert np.abs(moved.epipolar_error).max() < 1e-3
    aside = triangulate_on_rays(rays, pinhole, second_from_first, pixels + exact.across)
    np.testing.assert_allclose(aside.epipolar_error, 1.0, atol=0.05)


def test_without_baseline_nothing_is_claimed() -> None:
    rays, _, _, pixels = two_views(0)
    turned = Transform(Rotation.from_rotvec([0.0, 0.1, 0.0]), np.zeros(3))
    measured = triangulate_on_rays(rays, CAMERA, turned, pixels)
    assert not np.isfinite(measured.inverse_depth).any()


def measurements(*rows: tuple[int, float, float, bool]) -> Measurements:
    keypoint, inverse_depth, sigma, counted = zip(*rows, strict=True)
    return Measurements(
        np.array(keypoint), np.array(inverse_depth), np.array(sigma), np.array(counted)
    )


def test_the_largest_group_that_agrees_wins() -> None:
    fused = fuse(
        measurements(
            (0, 0.100, 0.001, True), (0, 0.102, 0.001, True), (0, 0.300, 0.0001, True),
            (1, 0.200, 0.002, True), (1, 0.201, 0.001, False),
            (3, 0.500, 0.010, False), (3, 0.900, 0.001, True),
        ),
        4,
    )  # fmt: skip
    assert fused.inverse_depth[0] == pytest.approx(0.101)
    assert fused.sigma[0] == pytest.approx(0.001 / np.sqrt(2))
    assert fused.inverse_depth[1] == pytest.approx(0.2008)
    assert np.isnan(fused.inverse_depth[2])
    assert fused.inverse_depth[3] == pytest.approx(0.9)  # alone against alone: the more certain
    assert fused.support.tolist() == [2, 1, 0, 1]


@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_fusing_does_not_depend_on_order_or_unit(seed: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    keypoint = generator.integers(0, 8, 40)
    inverse_depth = generator.uniform(0.05, 0.5, 40)
    sigma = inverse_depth * generator.uniform(0.001, 0.2, 40)
    counted = generator.random(40) < 0.7
    first = fuse(Measurements(keypoint, inverse_depth, sigma, counted), 8)
    order = generator.permutation(40)
    second = fuse(
        Measurements(
            keypoint[order], scale * inverse_depth[order], scale * sigma[order], counted[order]
        ),
        8,
    )
    np.testing.assert_allclose(second.inverse_depth, scale * first.inverse_depth, rtol=1e-9)
    np.testing.assert_array_equal(first.support, second.support)


def test_nothing_measured_is_nothing_known() -> None:
    empty = Measurements(
        np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.bool_)
    )
    fused = fuse(empty, 3)
    assert np.isnan(fused.inverse_depth).all()
    assert (fused.support == 0).all()


def test_confidence_and_sigma_are_inverse_to_each_other() -> None:
    sigma = np.array([0.005, 0.02, 0.1])
    np.testing.assert_allclose(sigma_of(confidence_of(sigma)), sigma, rtol=1e-9)
    assert confidence_of(np.array([0.0]))[0] == 1.0

"""References of a map that see the same surface agree on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.ray_triangulation import triangulate_on_rays
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.lifting.geometric import INFERRED_SIGMA, confidence_of, sigma_of
from deviloc_ros.mapping.multiview import consistency
from deviloc_ros.mapping.multiview.depth_fusion import Measurements, fuse
from deviloc_ros.mapping.multiview.matching import SeenAgain
from deviloc_ros.mapping.multiview.neighbours import Neighbourhood
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

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


BIAS = np.array([-0.9, -1.2])
SCALE = 1.5


class World:
    """Points seen by four cameras side by side, each of which has a feature at every point."""

    def __init__(self, seed: int, wrong: float) -> None:
        generator = np.random.default_rng(seed)
        self.points = generator.uniform((-3, -2, 5), (3, 2, 12), (300, 3))
        poses = [
            Transform(Rotation.from_rotvec(generator.normal(0, 0.03, 3)), np.array([x, y, 0.1 * x]))
            for x, y in ((0.0, 0.0), (-0.8, 0.1), (0.1, -0.7), (0.7, 0.6))
        ]
        self.references = [Reference(f"{i}", CAMERA, pose) for i, pose in enumerate(poses)]
        self.pixels = [CAMERA.project(pose.apply(self.points)) for pose in poses]
        self.wrong = [generator.random(300) < wrong for _ in poses]
        self.strays = generator.uniform((0, 0), (640, 480), (300, 2))

    def map(self, observed: int, depth_error: float) -> Map:
        """A map in which the first points are observed and the others lie wrong on their rays."""
        features = []
        for reference, pixels in zip(self.references, self.pixels, strict=True):
            depth = reference.camera_from_map.apply(self.points)[:, 2:]
            depth = np.where(np.arange(300)[:, None] < observed, depth, depth * depth_error)
            in_camera = CAMERA.rays(pixels) * depth
            features.append(reference.camera_from_map.inverse().apply(in_camera))
        of_each = np.arange(5, dtype=np.int64)
        return Map(
            references=self.references,
            feature_offsets=of_each * 300,
            keypoints=np.concatenate(self.pixels).astype(np.float32),
            descriptors=np.zeros((1200, 64), dtype=np.float16),
            levels=np.ones(1200, dtype=np.uint8),
            feature_points=np.concatenate(features).astype(np.float32),
            confidence=np.where(np.arange(1200) % 300 < observed, 1.0, 0.4).astype(np.float16),
            global_descriptors=np.ones((4, 64), dtype=np.float16),
            codebook=np.ones((1, 64), dtype=np.float32),
            point_array=self.points[:observed].astype(np.float32),
            observation_offsets=of_each * observed,
            observation_points=np.tile(np.arange(observed, dtype=np.int32), 4),
            observation_pixels=np.concatenate([p[:observed] for p in self.pixels]).astype(
                np.float32
            ),
            origin=np.zeros(3),
            metric=True,
            gravity_aligned=False,
            calibration=Calibration(np.zeros((2, 2))),
        )

    def matcher(self, reference_map: Map, config: LocalizerConfig) -> World:
        return self

    def __call__(self, index: int, neighbours: np.ndarray) -> list[SeenAgain]:
        """Stand in for ViewMatcher: the biased truth, and strays."""
        return [
            SeenAgain(
                int(j),
                1,
                SCALE,
                np.arange(300),
                np.where(self.wrong[j][:, None], self.strays, self.pixels[j] + BIAS * SCALE),
            )
            for j in neighbours
        ]


@pytest.mark.parametrize(("observed", "wrong"), [(0, 0.0), (60, 0.2), (300, 0.0)])
def test_views_that_agree_correct_depths(
    observed: int, wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(1, wrong)
    monkeypatch.setattr(consistency, "ViewMatcher", world.matcher)
    before = world.map(observed, depth_error=1.3)
    after = consistency.make_consistent(before, LocalizerConfig())
    np.testing.assert_allclose(after.calibration.offset_bias[1], BIAS, atol=0.08)
    error = np.linalg.norm(after.feature_points - np.tile(world.points, (4, 1)), axis=1)
    right = error < 0.02 * np.linalg.norm(world.points, axis=1).mean()
    assert right.mean() > 0.95 - wrong / 2
    sure = np.asarray(after.confidence) > 0.7
    assert sure.mean() > 0.5
    assert right[sure].mean() > 0.98
    assert np.isfinite(after.feature_points).all()
    inferred = np.arange(1200) % 300 >= observed
    assert (after.confidence[inferred] < 1.0).all()
    if not wrong:
        assert (after.confidence[~inferred] == 1.0).all()
    rays = [CAMERA.project(r.camera_from_map.apply(after.feature_points[i * 300 : i * 300 + 300]))
            for i, r in enumerate(world.references)]  # fmt: skip
    np.testing.assert_allclose(np.concatenate(rays), before.keypoints, atol=0.02)


def test_what_one_view_alone_says_of_a_depth_is_not_trusted() -> None:
    world = World(4, 0.0)
    before = world.map(0, depth_error=1.3)

    def only_neighbours(count: int) -> Callable[[int, np.ndarray], list[SeenAgain]]:
        return lambda index, neighbours: world(index, neighbours[:count])

    one, many = (
        consistency.make_consistent(before, LocalizerConfig(), only_neighbours(count))
        for count in (1, 3)
    )
    assert one.depth_sigma is not None
    assert many.depth_sigma is not None
    assert (one.depth_sigma >= np.float16(INFERRED_SIGMA)).all()
    assert np.median(many.depth_sigma) < INFERRED_SIGMA / 2


def test_features_that_nobody_sees_again_keep_what_they_had_if_there_are_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(2, 0.0)
    monkeypatch.setattr(World, "__call__", lambda *_: [])
    monkeypatch.setattr(consistency, "ViewMatcher", world.matcher)
    before = world.map(0, depth_error=1.3)
    after = consistency.make_consistent(before, LocalizerConfig())
    np.testing.assert_array_equal(after.feature_points, before.feature_points)
    np.testing.assert_array_equal(after.confidence, before.confidence)
    np.testing.assert_allclose(after.calibration.offset_bias, [[-0.98, -1.13]] * 2)


def test_features_that_neighbours_look_at_but_do_not_find_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(2, 0.0)
    found = world.__call__

    def but_the_last(index: int, neighbours: np.ndarray) -> list[SeenAgain]:
        return [
            replace(seen, feature=seen.feature[:250], keypoints=seen.keypoints[:250])
            for seen in found(index, neighbours)
        ]

    # The fourth camera looks the other way: nobody sees what it sees.
    away = Transform(Rotation.from_euler("y", 180, degrees=True), np.zeros(3))
    last = world.references[3]
    world.references[3] = replace(last, camera_from_map=away @ last.camera_from_map)
    before = world.map(observed=100, depth_error=1.3)
    before.feature_points[900:] = before.feature_points[900:] @ np.diag([-1.0, 1.0, -1.0])
    after = consistency.make_consistent(before, LocalizerConfig(), but_the_last)
    confidence = np.asarray(after.confidence).reshape(4, 300)
    assert (confidence[:, :100] == 1.0).all()
    assert (confidence[:3, 100:250] > 0.3).mean() > 0.95
    missed = confidence[:3, 250:]
    for index in range(3):
        points = before.feature_points[300 * index + 250 : 300 * index + 300]
        in_view = np.zeros(50, dtype=np.bool_)
        for other in range(3):
            if other != index:
                pose = world.references[other].camera_from_map
                pixels = CAMERA.project(pose.apply(points.astype(np.float64)))
                in_view |= ((pixels > 0) & (pixels < (640, 480))).all(axis=1)
        assert in_view.any()
        assert (missed[index][in_view] == 0.0).all()
        assert (missed[index][~in_view] > 0.3).all()
    np.testing.assert_array_equal(confidence[3, 100:], before.confidence[1000:])


def test_noise_of_the_maps_points_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3, 0.0)
    monkeypatch.setattr(consistency, "ViewMatcher", world.matcher)
    exact = world.map(300, depth_error=1.0)
    noise = np.random.default_rng(0).normal(1.0, 0.03, (1200, 1))
    centres = np.repeat(
        [r.camera_from_map.inverse().translation for r in world.references], 300, axis=0
    )
    spoilt = replace(
        exact,
        feature_points=(centres + (exact.feature_points - centres) * noise).astype(np.float32),
    )
    after = consistency.make_consistent(spoilt, LocalizerConfig())
    assert after.meta["observed_depth_sigma"] == pytest.approx(0.03, rel=0.25)
    error = np.linalg.norm(after.feature_points - np.tile(world.points, (4, 1)), axis=1)
    assert (
        np.median(error)
        < np.median(np.linalg.norm(spoilt.feature_points - np.tile(world.points, (4, 1)), axis=1))
        / 3
    )


def test_neighbours_see_the_same_from_elsewhere() -> None:
    world = World(4, 0.0)
    whole = world.map(100, depth_error=1.0)
    away = Transform(Rotation.from_euler("y", 180, degrees=True), np.zeros(3))
    first, second, _, last = whole.references
    behind = replace(second, camera_from_map=away @ second.camera_from_map)
    odd = replace(whole, references=[first, behind, first, last])
    neighbourhood = Neighbourhood(odd)
    assert neighbourhood.of(0, 8).tolist() == [3]
    assert neighbourhood.of(0, 0).tolist() == []
    assert sorted(Neighbourhood(whole).of(0, 8).tolist()) == [1, 2, 3]
    assert len(Neighbourhood(whole).of(0, 2)) == 2

"""What benchmarks/pin.py does to maps and how it counts, on a made-up room."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lifting.aliked import deform_conv2d
from lifting.depth import DepthErrors, hidden_depth_errors, told
from lifting.lifts import LIFTS, Lifter, nothing, per_view
from lifting.maps import Variant, view_of, with_observations, with_points
from lifting.results import read_results
from lifting.tables import Result, pose_table, reliability_table, summary_table
from pin_precision import NEAR, in_common, spoilt
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.lifting.geometric import GeometricInference
from deviloc_ros.localization.features import LEVELS
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

CAMERA = Camera("PINHOLE", 640, 480, (400.0, 400.0, 320.0, 240.0))
CONFIG = LocalizerConfig()
NUM_POINTS = 600
ORIGIN = np.array([100.0, -50.0, 0.0])


def wall_map() -> Map:
    """Return a map of a slanted wall that three cameras see; features lie on its points."""
    generator = np.random.default_rng(0)
    across = generator.uniform(-4, 4, (NUM_POINTS, 2))
    points = np.column_stack([across, 10 + 0.3 * across[:, 0]])
    references, pixels, seen = [], [], []
    for index, left in enumerate((-1.0, 0.0, 1.0)):
        pose = Transform(Rotation.identity(), np.array([left, 0.0, 0.0]) - ORIGIN)
        image = CAMERA.project(pose.apply(points + ORIGIN))
        inside = ((image > 0) & (image < (640, 480))).all(axis=1)
        references.append(Reference(f"{index}.png", CAMERA, pose))
        pixels.append(image[inside])
        seen.append(np.flatnonzero(inside))
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in pixels])])
    count = int(offsets[-1])
    return Map(
        references=references,
        feature_offsets=offsets,
        keypoints=np.concatenate(pixels).astype(np.float32),
        descriptors=np.zeros((count, 64), np.float16),
        levels=np.ones(count, np.uint8),
        feature_points=np.zeros((count, 3), np.float32),
        confidence=np.zeros(count, np.float16),
        global_descriptors=np.ones((3, 64), np.float16),
        codebook=np.ones((1, 64), np.float32),
        point_array=points.astype(np.float32),
        observation_offsets=offsets,
        observation_points=np.concatenate(seen).astype(np.int32),
        observation_pixels=np.concatenate(pixels).astype(np.float32),
        origin=ORIGIN,
        metric=True,
        gravity_aligned=False,
        calibration=Calibration(np.zeros((len(LEVELS), 2))),
        unregistered={},
        meta={},
    )


def test_thinning_keeps_a_share_of_the_points_with_their_own_observations() -> None:
    whole = wall_map()
    thin = Variant(0.1).apply(whole, seed=3)
    assert len(thin.point_array) == NUM_POINTS // 10
    assert len(thin.keypoints) == len(whole.keypoints)
    for index in range(3):
        view = view_of(thin, index)
        projected = CAMERA.project(view.camera_from_map.apply(view.points3d))
        np.testing.assert_allclose(projected, view.observations, atol=1e-2)
    assert not np.array_equal(thin.point_array, Variant(0.1).apply(whole, seed=4).point_array)


def test_noise_has_the_size_and_the_direction_it_is_said_to_have() -> None:
    whole = wall_map()
    exact = np.asarray(whole.point_array, dtype=np.float64)
    distance = np.linalg.norm(exact, axis=1)
    along = np.asarray(Variant(ray_noise=0.02).apply(whole, 0).point_array) - exact
    assert np.sqrt(np.mean(np.sum(along**2, axis=1) / distance**2)) == pytest.approx(0.02, rel=0.1)
    aside = np.linalg.norm(np.cross(along, exact / distance[:, None]), axis=1)
    # Cameras that see a point are up to a metre from the middle one, at ten metres' distance.
    assert np.mean(aside) < 0.15 * np.mean(np.linalg.norm(along, axis=1))
    around = np.asarray(Variant(isotropic_noise=0.02).apply(whole, 0).point_array) - exact
    assert np.std(around / distance[:, None], axis=0) == pytest.approx([0.02] * 3, rel=0.15)


def test_depth_errors_are_those_of_hidden_points_only() -> None:
    whole = wall_map()
    thin = Variant(0.5).apply(whole, 0)
    geometric = hidden_depth_errors(whole, per_view(GeometricInference())(thin, CONFIG), CONFIG)
    assert len(geometric.relative) > 0.5 * geometric.asked
    # Inverse depth is linear over a plane, and keypoints lie on it.
    assert np.median(geometric.relative) < 1e-4
    lazy = hidden_depth_errors(whole, per_view(nothing)(thin, CONFIG), CONFIG)
    assert lazy.asked == geometric.asked
    assert len(lazy.relative) < 0.2 * len(geometric.relative)
    everything = np.arange(NUM_POINTS)
    same = with_points(whole, everything, np.asarray(whole.point_array, dtype=np.float64))
    assert hidden_depth_errors(whole, per_view(nothing)(same, CONFIG), CONFIG).asked == 0


def test_other_keypoints_replace_the_points_and_nothing_else() -> None:
    whole = wall_map()
    views = [view_of(whole, index) for index in range(3)]
    moved = whole.points3d[::-1] + 1.0
    last = len(moved) - 1
    seen = [
        last - np.asarray(whole.observation_points[whole.observations_of(i)], dtype=np.int64)
        for i in range(3)
    ]
    other = with_observations(whole, moved, [view.observations for view in views], seen)
    for index, view in enumerate(views):
        np.testing.assert_allclose(view_of(other, index).points3d, view.points3d + 1.0, atol=1e-4)
        np.testing.assert_allclose(view_of(other, index).observations, view.observations)
    np.testing.assert_array_equal(other.keypoints, whole.keypoints)


def test_lifts_share_what_each_view_infers() -> None:
    thin = Variant(0.5).apply(wall_map(), 0)
    asked: list[int] = []

    def match(index: int, neighbours: object) -> list[object]:
        asked.append(index)
        return []

    lifter = Lifter(thin, CONFIG, match)
    agreed, alone = lifter("geometric, views agree"), lifter("geometric, each view by itself")
    # Nobody sees anything again, so that agreeing changes nothing.
    np.testing.assert_array_equal(agreed.feature_points, alone.feature_points)
    assert set(asked) == {0, 1, 2}
    assert lifter("geometric, views agree") is agreed
    assert set(LIFTS.values()) == {(m, a) for m in ("learned", "geometric", None) for a in (0, 1)}


def test_what_was_measured_so_far_is_read_in_the_order_of_tables(tmp_path: Path) -> None:
    content = {"scene": "wall", "errors": [[0.1, 0.2], [float("inf"), float("inf")]]}
    rows = [
        ("80% of the points, 2% noise along the ray", "as they are", "SIFT"),
        ("100% of the points", "blurred", "SIFT"),
        ("3% of the points", "as they are", "geometric, views agree"),
        ("3% of the points", "as they are", "learned, views agree"),
        ("100% of the points", "as they are", "SIFT"),
    ]
    for index, (variant, condition, method) in enumerate(rows):
        row = {**content, "variant": variant, "condition": condition, "method": method}
        (tmp_path / f"{index}.json").write_text(json.dumps(row), encoding="utf-8")
    (tmp_path / "castle.json").write_text('{"totals": {}}', encoding="utf-8")
    found = [(r.block, r.variant, r.method) for r in read_results(tmp_path)]
    assert found == [
        ("points", "100% of the points", "SIFT"),
        ("points", "3% of the points", "learned, views agree"),
        ("points", "3% of the points", "geometric, views agree"),
        ("queries", "blurred", "SIFT"),
        ("noise of 2 %", "80% of the points, 2% noise along the ray", "SIFT"),
    ]
    assert read_results(tmp_path)[0].within.tolist() == [True, False]


def test_reliability_counts_right_depths_among_those_equally_sure() -> None:
    confidence = np.array([0.4, 0.4, 0.95, 0.95, 0.95, 0.95, 1.0])
    relative = np.array([0.01, 0.10, 0.00, 0.01, 0.01, 0.50, 0.0])
    hidden = DepthErrors(relative, confidence, 10, 0.3).summary()
    assert hidden["answered"] == 7
    assert told(hidden).endswith("70% answered")
    one = Result("points", "wall", "all", "learned", np.zeros((1, 2)), hidden)
    text = reliability_table([one, one])
    assert "50% (said 40%, 4)" in text
    assert "75% (said 95%, 8)" in text


def test_displaced_taps_read_where_they_are_displaced_to() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 9, 11, generator=generator)
    weight = torch.randn(4, 3, 3, 3, generator=generator)
    bias = torch.randn(4, generator=generator)
    offset = torch.zeros(2, 18, 9, 11)
    plain = F.conv2d(image, weight, bias, padding=1)
    torch.testing.assert_close(deform_conv2d(image, offset, weight, bias, 1), plain)
    offset[:, 0::2] = 1.0  # y
    offset[:, 1::2] = -2.0  # x
    moved = F.pad(image, (2, 0, 0, 1))[:, :, 1:, :11]
    expected = F.conv2d(moved, weight, bias, padding=1)
    inner = (..., slice(1, 7), slice(3, 10))
    found = deform_conv2d(image, offset, weight, bias, 1)
    torch.testing.assert_close(found[inner], expected[inner])
    half = torch.full((2, 9, 9, 11), 0.5)
    halved = deform_conv2d(image, 0 * offset, weight, bias, 1, half) - bias[:, None, None]
    torch.testing.assert_close(halved, 0.5 * (plain - bias[:, None, None]))


def result(method: str, metres: list[float]) -> Result:
    errors = np.column_stack([metres, np.full(len(metres), 0.1)])
    errors[np.isinf(errors[:, 0])] = np.inf
    return Result("points", "wall", "10% of the points", method, errors)


def test_tables_count_a_query_without_a_pose_as_a_failure() -> None:
    base = result("geometric", [0.02, 0.02, 0.02, 0.3])
    better = result("learned", [0.01, 0.01, 0.01, 0.01])
    worse = result("observed points only", [0.02, np.inf, np.inf, np.inf])
    text = pose_table([base, better, worse])
    assert "0.010 m (0.010-0.010), 0.100 deg; 4/4" in text
    assert "3/4" in text
    assert "inf m" in text
    lines = summary_table([base, better, worse], "geometric").splitlines()
    assert "| points | learned | 4/4 (100.0%) | 0.50" in lines[3]
    assert "1/4 (25.0%) | 50.00" in lines[4]


def test_errors_in_common_are_told_from_those_of_each_match() -> None:
    generator = np.random.default_rng(0)
    keypoints = generator.uniform(0, 1024, (20_000, 2))
    own = generator.normal(0, 1.0, keypoints.shape)
    square = np.floor(keypoints / NEAR)
    common = 0.3 * np.where((square.sum(axis=1) % 2)[:, None] == 0, 1.0, -1.0) * (0.6, 0.8)
    assert in_common(keypoints, own, generator) < 0.1
    assert in_common(keypoints, own + common, generator) == pytest.approx(0.3, abs=0.05)


def test_exchanged_errors_are_those_that_were_given() -> None:
    generator = np.random.default_rng(0)
    points = generator.uniform((-2, -2, 4), (2, 2, 8), (50, 3))
    posed = PosedImage("a.jpg", CAMERA, Transform(Rotation.identity(), np.zeros(3)))
    exact = CAMERA.project(points)
    none = np.full(50, -1)
    matches = Correspondences(exact + 5.0, points, np.ones(50), none, exact)
    errors = generator.normal(0, 1, (30, 2))
    for given in (errors, np.concatenate([errors, errors])):
        added = spoilt(matches, given, posed, generator).keypoints - exact
        assert added.shape == (50, 2)
        distance = np.linalg.norm(added[:, None] - given[None], axis=2).min(axis=1)
        assert distance.max() < 1e-9

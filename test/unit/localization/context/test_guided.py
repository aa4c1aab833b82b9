"""Guided matching against all pairs by force, and where windows lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.context.guided import (
    MIN_COSINE,
    UNIT,
    Windows,
    guided_nearest_neighbours,
    unit_codes,
)
from deviloc_ros.localization.context.windows import pose_windows
from deviloc_ros.maps.reference import Reference

CAMERA = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))


def by_force(
    places: NDArray[np.float64],
    query: NDArray[np.int8],
    reference: NDArray[np.int8],
    windows: Windows,
) -> set[tuple[int, int]]:
    similarity = (query.astype(np.int64) @ reference.T.astype(np.int64)).astype(np.float64)
    across = np.stack([windows.direction[:, 1], -windows.direction[:, 0]], axis=1)
    off = places[:, None] - windows.centre[None]
    with np.errstate(invalid="ignore"):
        inside = (np.abs((off * windows.direction).sum(-1)) <= windows.half_sides[:, 0]) & (
            np.abs((off * across).sum(-1)) <= windows.half_sides[:, 1]
        )
    similarity[~inside | (similarity < MIN_COSINE * UNIT**2)] = -np.inf
    return {
        (int(i), int(j))
        for i, j in zip(*np.nonzero(np.isfinite(similarity)), strict=True)
        if similarity[i, j] == similarity[i].max() == similarity[:, j].max()
    }


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_what_a_search_through_all_pairs_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = rng.uniform(-5, 300, (400, 2))
    descriptors = rng.normal(size=(60, 64))
    query = descriptors[rng.integers(0, 60, 400)] + 0.4 * rng.normal(size=(400, 64))
    reference = descriptors[rng.integers(0, 60, 300)] + 0.4 * rng.normal(size=(300, 64))
    angle = rng.uniform(0, 2 * np.pi, 300)
    windows = Windows(
        rng.uniform(-20, 320, (300, 2)),
        np.stack([np.cos(angle), np.sin(angle)], axis=1),
        rng.uniform(2, 60, (300, 2)),
    )
    windows.centre[::17] = np.nan
    codes = [unit_codes(torch.from_numpy(each)) for each in (query, reference)]
    found = guided_nearest_neighbours(places, codes[0], codes[1], windows)
    assert set(zip(*(part.tolist() for part in found), strict=True)) == by_force(
        places, codes[0], codes[1], windows
    )
    assert len(found[0]) > 20
    assert (np.diff(found[0]) > 0).all()


def test_nothing_is_found_where_no_window_is() -> None:
    nowhere = Windows(np.full((3, 2), np.nan), np.ones((3, 2)), np.ones((3, 2)))
    codes = unit_codes(torch.ones(3, 64))
    assert not len(guided_nearest_neighbours(np.zeros((3, 2)), codes, codes, nowhere)[0])
    assert not len(guided_nearest_neighbours(np.zeros((0, 2)), codes[:0], codes, nowhere)[0])


def scene() -> tuple[Reference, Transform, NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    points = rng.uniform((-4, -3, 6), (4, 3, 14), (200, 3))
    turn = Rotation.from_euler("y", 5, degrees=True)
    return (
        Reference("r", CAMERA, Transform.identity()),
        Transform(turn, np.array([1.0, 0, 0])),
        (points),
    )


def inside(windows: Windows, pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    off = pixels - windows.centre
    across = np.stack([windows.direction[:, 1], -windows.direction[:, 0]], axis=1)
    sides = np.stack([(off * windows.direction).sum(1), (off * across).sum(1)], axis=1)
    return np.asarray((np.abs(sides) <= windows.half_sides).all(axis=1))


def test_a_wrong_depth_stays_in_the_window_of_its_pose() -> None:
    reference, pose, points = scene()
    wrong = points * (1 + 0.1 * np.random.default_rng(1).uniform(-1, 1, (200, 1)))
    seen = CAMERA.project(pose.apply(points))
    sure = pose_windows(CAMERA, pose, reference, wrong, np.zeros(200), 4.0, 1.0)
    unsure = pose_windows(CAMERA, pose, reference, wrong, np.full(200, 0.05), 4.0, 1.0)
    assert inside(unsure, seen).mean() > 0.95 > 0.9 > inside(sure, seen).mean()
    # Only along the epipolar line.
    assert (unsure.half_sides[:, 1] == 4.0).all()

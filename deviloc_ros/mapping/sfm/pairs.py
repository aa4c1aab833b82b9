"""Which images of a map to match with each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch

from deviloc_ros.datasets.colmap import PosedImage

EXHAUSTIVE_IMAGES = 60
PAIRS_BY_APPEARANCE = 25
PAIRS_BY_NAME = 10
# Where poses are given: images that each is matched with, out of so many of the most similar ones.
PAIRS_BY_POSE, CANDIDATES = 12, 60
# Directions of view that differ more show nothing in the same way.
MAX_TURN = np.radians(75.0)
# Least share of a view that the other one sees, if it were all at one of these multiples of the
# distance between them.
MIN_OVERLAP = 0.15
DEPTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
GRID = 5


def choose_pairs(descriptors: Mapping[str, torch.Tensor]) -> list[tuple[str, str]]:
    """Return which images to match: all, or those alike and those next to each other by name.

    Args:
        descriptors: name to global descriptor (C,), unit length.
    """
    names = sorted(descriptors)
    if len(names) <= EXHAUSTIVE_IMAGES:
        return list(itertools.combinations(names, 2))
    stacked = torch.stack([descriptors[name] for name in names])
    pairs: set[tuple[int, int]] = set()
    for i, similarity in enumerate(stacked @ stacked.T):
        alike = similarity.topk(min(PAIRS_BY_APPEARANCE + 1, len(names))).indices.tolist()
        beside = range(i + 1, min(i + 1 + PAIRS_BY_NAME, len(names)))
        pairs |= {(min(i, j), max(i, j)) for j in (*alike, *beside) if j != i}
    return [(names[i], names[j]) for i, j in sorted(pairs)]


def choose_posed_pairs(
    descriptors: Mapping[str, torch.Tensor], posed: Mapping[str, PosedImage]
) -> list[tuple[str, str]]:
    """Return which images of given poses to match: those alike that can see the same.

    Args:
        descriptors: name to global descriptor (C,), unit length.
        posed: name to pose and intrinsics.
    """
    names = sorted(descriptors)
    stacked = torch.stack([descriptors[name] for name in names])
    views = [posed[name] for name in names]
    axes = np.array([view.camera_from_map.rotation.as_matrix()[2] for view in views])
    pairs: set[tuple[int, int]] = set()
    for i, similarity in enumerate(stacked @ stacked.T):
        usable = np.arccos(np.clip(axes @ axes[i], -1.0, 1.0)) < MAX_TURN
        usable[i] = False
        order = np.argsort(np.where(usable, -similarity.numpy(), np.inf), kind="stable")
        found = 0
        for j in order[: min(CANDIDATES, np.count_nonzero(usable))]:
            if found < PAIRS_BY_POSE and _overlap(views[i], views[j]) >= MIN_OVERLAP:
                pairs.add((min(i, int(j)), max(i, int(j))))
                found += 1
    return [(names[i], names[j]) for i, j in sorted(pairs)]


def _overlap(first: PosedImage, second: PosedImage) -> float:
    """Return which share of a view the other one sees, at the depth where that is most."""
    second_from_first = second.camera_from_map @ first.camera_from_map.inverse()
    baseline = float(np.linalg.norm(second_from_first.translation))
    if baseline == 0:
        return 0.0
    x = (np.arange(GRID) + 0.5) / GRID * first.camera.width
    y = (np.arange(GRID) + 0.5) / GRID * first.camera.height
    rays = first.camera.rays(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
    depths = np.repeat(DEPTHS, len(rays))[:, None] * baseline
    seen = second.camera.project(second_from_first.apply(np.tile(rays, (len(DEPTHS), 1)) * depths))
    size = second.camera.width, second.camera.height
    with np.errstate(invalid="ignore"):
        inside = ((seen >= 0) & (seen < size)).all(axis=1)
    return float(inside.reshape(len(DEPTHS), -1).mean(axis=1).max())

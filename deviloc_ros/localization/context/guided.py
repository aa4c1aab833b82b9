"""Guided matching: every feature is matched only near where geometry puts it.

A first pose, or the epipolar geometry of two images, says for each feature of a reference in which
window of the query it must lie. Among the few features there the most similar one is right far more
often than among all: few matches that are certain become many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.localization.features import normalised

# Least cosine of the descriptors of a match.
MIN_COSINE = 0.7
# Query features are looked up in squares of this side, pixels.
BIN = 16.0
# Length of a descriptor in 8 bits.
UNIT = 127.0


@dataclass(frozen=True)
class Windows:
    """Where in the query each feature of a reference is looked for: rectangles.

    Attributes:
        centre: (M, 2) float64, pixels; NaN: nowhere.
        direction: (M, 2) float64, of the rectangle's first axis, unit length.
        half_sides: (M, 2) float64, along the first axis and across it, pixels.
    """

    centre: NDArray[np.float64]
    direction: NDArray[np.float64]
    half_sides: NDArray[np.float64]


def unit_codes(descriptors: torch.Tensor) -> NDArray[np.int8]:
    """Return descriptors (N, D) of any length as integers, all equally long."""
    scaled = normalised(descriptors) * UNIT
    return np.asarray(scaled.round().to(torch.int8).cpu().numpy())


def guided_nearest_neighbours(
    places: NDArray[np.float64],
    query: NDArray[np.int8],
    reference: NDArray[np.int8],
    windows: Windows,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Match features that are each other's most similar among those that windows allow.

    Args:
        places: (N, 2) float64, of the query's features, pixels.
        query: (N, D) int8, see `unit_codes`.
        reference: (M, D) int8, likewise.
        windows: of the reference's features.

    Returns:
        Indices of the query's and of the reference's features, (K,) each, of the query ascending.
    """
    sides = np.concatenate([windows.centre, windows.half_sides], axis=1)
    finite: NDArray[np.bool_] = np.isfinite(sides).all(axis=1)
    if not len(places) or not finite.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bins = np.floor(np.maximum(places, 0) / BIN).astype(np.int64)
    columns, rows = bins.max(axis=0) + 1
    number = bins[:, 1] * columns + bins[:, 0]
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(columns * rows + 1))
    best = _best(
        places[order], query[order], starts, int(columns), int(rows), reference, finite,
        windows.centre, windows.direction, windows.half_sides,
        MIN_COSINE * UNIT**2,
    )  # fmt: skip
    of_query, of_reference = best
    (features,) = np.nonzero(of_reference >= 0)
    features = features[of_query[of_reference[features]] == features]
    queries = order[of_reference[features]]
    ascending = np.argsort(queries, kind="stable")
    return queries[ascending], features[ascending]


@numba.njit(nogil=True, cache=True)
def _best(
    places: NDArray[np.float64],
    query: NDArray[np.int8],
    starts: NDArray[np.int64],
    columns: int,
    rows: int,
    reference: NDArray[np.int8],
    finite: NDArray[np.bool_],
    centre: NDArray[np.float64],
    direction: NDArray[np.float64],
    half_sides: NDArray[np.float64],
    min_similarity: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the best reference feature of each query feature and the reverse; -1: none."""
    of_query, of_reference = np.full(len(places), -1), np.full(len(reference), -1)
    query_value = np.full(len(places), np.int32(-(2**30)))
    for j in range(len(reference)):
        if not finite[j]:
            continue
        x, y = centre[j]
        dx, dy = direction[j]
        along, across = half_sides[j]
        reach_x = abs(dx) * along + abs(dy) * across
        reach_y = abs(dy) * along + abs(dx) * across
        left = max(int(np.floor((x - reach_x) / BIN)), 0)
        right = min(int(np.floor((x + reach_x) / BIN)), columns - 1)
        top = max(int(np.floor((y - reach_y) / BIN)), 0)
        bottom = min(int(np.floor((y + reach_y) / BIN)), rows - 1)
        best = np.int32(-(2**30))
        for row in range(top, bottom + 1):
            if right < left:
                continue
            for i in range(starts[row * columns + left], starts[row * columns + right + 1]):
                off_x, off_y = places[i, 0] - x, places[i, 1] - y
                if abs(off_x * dx + off_y * dy) > along or abs(off_y * dx - off_x * dy) > across:
                    continue
                value = np.int32(0)
                for k in range(query.shape[1]):
                    value += np.int32(query[i, k]) * np.int32(reference[j, k])
                if value < min_similarity:
                    continue
                if value > best:
                    best = value
                    of_reference[j] = i
                if value > query_value[i]:
                    query_value[i] = value
                    of_query[i] = j
    return of_query, of_reference

"""Sums of the exponentials of all products of two sets of features, in tiles, on a CPU.

A tile fits the cache: it is made by one product, exponentiated in place, read once for the sums,
and forgotten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

_TILE_COLUMNS = 2048
# Exponents that float32 can hold and sum up; sums below the other bound are not trusted.
_LARGEST_EXPONENT = 75.0
_SMALLEST_SUM = 1e-30


@dataclass(frozen=True)
class ExponentialSums:
    """Sums over E = exp(query reference^T - shift) and its large entries.

    Attributes:
        shift: subtracted from all products.
        of_rows: (L,) float32.
        of_columns: (S,) float32.
        rows: (M,) int64, of entries above `threshold` times the sum of their row.
        columns: (M,) int64.
        exponentials: (M,) float32, the entries.
    """

    shift: float
    of_rows: Tensor
    of_columns: Tensor
    rows: Tensor
    columns: Tensor
    exponentials: Tensor


def exponential_sums(
    query: Tensor, reference: Tensor, threshold: float, max_products: int
) -> ExponentialSums | None:
    """Return the sums, None where float32 cannot hold all exponentials under one shift.

    Args:
        query: (L, C) float32 or bfloat16 features on the CPU.
        reference: (S, C) features of the same type.
        threshold: least share of an entry in its row, exclusive, in (0, 1).
        max_products: largest number of products held at once.
    """
    # No product is larger than that of the longest features.
    bound = float(_longest(query) * _longest(reference))
    shift = max(0.0, bound - _LARGEST_EXPONENT)
    columns = min(len(reference), _TILE_COLUMNS, max_products)
    rows = max(1, min(len(query), max_products // columns))
    buffer = torch.empty(rows * columns)
    of_rows, of_columns = np.zeros(len(query), np.float32), np.zeros(len(reference), np.float32)
    # So many entries of a row of a tile can be above the threshold.
    most = rows * min(columns, math.ceil(1 / threshold) + 1)
    found = np.empty((2, most), np.int32), np.empty(most, np.float32)
    parts = []
    for top in range(0, len(query), rows):
        upper = query[top : top + rows]
        for left in range(0, len(reference), columns):
            right = reference[left : left + columns]
            tile = buffer[: len(upper) * len(right)].view(len(upper), len(right))
            if query.dtype is torch.float32:
                torch.mm(upper, right.T, out=tile)
            else:
                tile.copy_(F.linear(upper, right))
            if shift:
                tile -= shift
            tile.exp_()
            places = slice(top, top + len(upper)), slice(left, left + len(right))
            count = _add(tile.numpy(), of_rows[places[0]], of_columns[places[1]],
                         np.float32(threshold), *found)  # fmt: skip
            offset = np.array([[top], [left]])
            parts.append((found[0][:, :count] + offset, found[1][:count].copy()))
    if min(of_rows.min(), of_columns.min()) < _SMALLEST_SUM:
        return None
    index = np.concatenate([part[0] for part in parts], axis=1)
    exponentials = np.concatenate([part[1] for part in parts])
    # Rows were not complete when their entries were compared: some are too small.
    keep = exponentials > np.float32(threshold) * of_rows[index[0]]
    return ExponentialSums(
        shift,
        torch.from_numpy(of_rows),
        torch.from_numpy(of_columns),
        torch.from_numpy(index[0, keep]),
        torch.from_numpy(index[1, keep]),
        torch.from_numpy(exponentials[keep]),
    )


def _longest(features: Tensor) -> Tensor:
    longest: Tensor = torch.linalg.vector_norm(features, dim=1, dtype=torch.float32).max()
    return longest


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _add(
    tile: NDArray[np.float32],
    of_rows: NDArray[np.float32],
    of_columns: NDArray[np.float32],
    threshold: np.float32,
    index: NDArray[np.int32],
    entries: NDArray[np.float32],
) -> int:
    """Add a tile to the sums; write its entries that are large in their row as known so far."""
    count = 0
    height, width = tile.shape
    for i in range(height):
        total, largest = np.float32(0), np.float32(0)
        for j in range(width):
            total += tile[i, j]
            largest = max(largest, tile[i, j])
            of_columns[j] += tile[i, j]
        of_rows[i] += total
        limit = threshold * of_rows[i]
        if largest > limit:
            for j in range(width):
                if tile[i, j] > limit:
                    index[0, count], index[1, count], entries[count] = i, j, tile[i, j]
                    count += 1
    return count

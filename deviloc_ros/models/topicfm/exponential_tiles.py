"""Sums of the exponentials of all products of two sets of features, in tiles, on a CPU.

A tile fits the cache: it is made by one product, read once for the sums, and forgotten.
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

from deviloc_ros.models.topicfm.tile_sums import add_bfloat16, add_float32

# Pairs multiplied at once where torch does it; 2 kB each.
_PAIRS_AT_ONCE = 8192


def pair_products(query: Tensor, reference: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the products (M,) of features query[rows] and reference[columns].

    Args:
        query: (L, C) float32.
        reference: (S, C) float32.
        rows: (M,) int64.
        columns: (M,) int64.
    """
    if query.device.type == "cpu":
        arrays = (each.contiguous().numpy() for each in (query, reference, rows, columns))
        return torch.from_numpy(_pair_products(*arrays))
    pairs = zip(
        torch.split(rows, _PAIRS_AT_ONCE), torch.split(columns, _PAIRS_AT_ONCE), strict=True
    )
    return torch.cat([(query[i] * reference[j]).sum(1) for i, j in pairs])


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _pair_products(
    query: NDArray[np.float32],
    reference: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.float32]:
    products = np.empty(len(rows), np.float32)
    for m in range(len(rows)):
        left, right = query[rows[m]], reference[columns[m]]
        total = np.float32(0)
        for channel in range(len(left)):
            total += left[channel] * right[channel]
        products[m] = total
    return products


_TILE_COLUMNS = 2048
# Rows of a tile in bfloat16, which is faster the smaller it is, until products get too small.
_REDUCED_ROWS = 256
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
    reduced = query.dtype is torch.bfloat16
    if reduced:
        rows = min(rows, _REDUCED_ROWS)
    buffer = torch.empty(0 if reduced else rows * columns)
    of_rows, of_columns = np.zeros(len(query), np.float32), np.zeros(len(reference), np.float32)
    # So many entries of a row of a tile can be above the threshold.
    most = rows * min(columns, math.ceil(1 / threshold) + 1)
    found = np.empty((2, most), np.int32), np.empty(most, np.float32)
    parts = []
    for top in range(0, len(query), rows):
        upper = query[top : top + rows]
        for left in range(0, len(reference), columns):
            right = reference[left : left + columns]
            places = slice(top, top + len(upper)), slice(left, left + len(right))
            sums = of_rows[places[0]], of_columns[places[1]], np.float32(threshold), *found
            if reduced:
                bits = F.linear(upper, right).view(torch.int16).numpy().view(np.uint16)
                count = add_bfloat16(bits, np.float32(shift), *sums)
            else:
                tile = buffer[: len(upper) * len(right)].view(len(upper), len(right))
                torch.mm(upper, right.T, out=tile)
                count = add_float32(tile.numpy(), np.float32(shift), *sums)
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

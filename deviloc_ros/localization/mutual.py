"""Mutual nearest neighbours by dot product, without the whole similarity matrix.

Rows of the matrix are made in tiles; each tile updates the best reference of its queries and the
best query of every reference, and is forgotten.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

TILE_ROWS = 256


def mutual_nearest_neighbours(
    query: torch.Tensor, reference: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Match two sets of descriptors.

    Args:
        query: (N, D), float or, on the CPU, int8.
        reference: (M, D), same type and device.

    Returns:
        Indices of the matched queries and of their references, both (K,) int64, queries ascending.
        Of equal similarities the lowest index counts as the largest.
    """
    if not len(query) or not len(reference):
        empty = torch.zeros(0, dtype=torch.int64, device=query.device)
        return empty, empty
    if query.device.type == "cpu":
        best_reference, best_query = _nearest_on_cpu(query, reference)
    else:
        best_reference, best_query = _nearest(query, reference)
    queries = torch.arange(len(query), device=query.device)
    mutual = best_query[best_reference] == queries
    return queries[mutual], best_reference[mutual]


def _nearest(query: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best reference of each query and the best query of each reference."""
    best_reference = []
    column_value = torch.full((len(reference),), -torch.inf, device=query.device)
    column_index = torch.zeros(len(reference), dtype=torch.int64, device=query.device)
    for start in range(0, len(query), TILE_ROWS):
        tile = query[start : start + TILE_ROWS].float() @ reference.float().T
        best_reference.append(tile.argmax(dim=1))
        value, index = tile.max(dim=0)
        better = value > column_value
        column_value = torch.where(better, value, column_value)
        column_index = torch.where(better, index + start, column_index)
    return torch.cat(best_reference), column_index


def _nearest_on_cpu(
    query: torch.Tensor, reference: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do the same in one fused pass over each tile; int8 uses the CPU's integer dot products."""
    integer = query.dtype == torch.int8
    query, transposed = (query, reference.T) if integer else (query.float(), reference.float().T)
    kind: type[np.generic] = np.int32 if integer else np.float32
    lowest = np.iinfo(np.int32).min if integer else -np.inf
    rows = np.empty(len(query), np.int64)
    column_value = np.full(len(reference), lowest, kind)
    column_index = np.zeros(len(reference), np.int32)
    multiply = torch._int_mm if integer else torch.mm
    # One buffer for all tiles: fresh memory for each would cost as much as the product.
    buffer = torch.empty(TILE_ROWS, len(reference), dtype=torch.int32 if integer else torch.float32)
    for start in range(0, len(query), TILE_ROWS):
        part = query[start : start + TILE_ROWS]
        tile = multiply(part, transposed, out=buffer[: len(part)])
        _update(tile.numpy(), start, rows, column_value, column_index)
    return torch.from_numpy(rows), torch.from_numpy(column_index).long()


@numba.njit(nogil=True, cache=True)
def _update(
    tile: NDArray[Any],
    start: int,
    rows: NDArray[np.int64],
    column_value: NDArray[Any],
    column_index: NDArray[np.int32],
) -> None:
    for i in range(tile.shape[0]):
        best = tile[i, 0]
        for j in range(tile.shape[1]):
            value = tile[i, j]
            best = max(best, value)
            better = value > column_value[j]
            column_index[j] = start + i if better else column_index[j]
            column_value[j] = value if better else column_value[j]
        for j in range(tile.shape[1]):
            if tile[i, j] == best:
                rows[start + i] = j
                break

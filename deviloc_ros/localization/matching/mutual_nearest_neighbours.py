"""Mutual nearest neighbours by dot product, without the whole similarity matrix.

Rows of the matrix are made in tiles; each tile updates the best reference of its queries and the
best query of every reference, and is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numba
import numpy as np
import torch
from numpy.typing import NDArray

TAG_BITS = 7
TILE_ROWS = 1 << TAG_BITS
TAG = np.int32(TILE_ROWS)
# Columns of which only the maximum is kept until a row's best column is looked for.
BLOCK = 64
LOWEST = np.int32(np.iinfo(np.int32).min)

Pairs = tuple[torch.Tensor, torch.Tensor]
Nearest = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def mutual_nearest_neighbours(
    query: torch.Tensor, references: Sequence[torch.Tensor], executor: Executor | None = None
) -> list[Pairs]:
    """Match the descriptors of a query with those of several references, each by itself.

    Args:
        query: (N, D), float, or int8 with D up to 512.
        references: (M, D) each, same type and device.
        executor: for int8 on the CPU: shares the work, in parts finer than a reference.

    Returns:
        Of each reference the indices of the matched queries and of its own descriptors, both (K,)
        int64, queries ascending. Of equal similarities the lowest index counts as the largest.
    """
    integer = query.dtype == torch.int8 and query.device.type == "cpu"
    nearest = _nearest_integer if integer else _nearest
    shared = integer and executor is not None
    # Five references are hard to share between two cores; ten halves are not.
    parts = query.tensor_split(2) if shared else (query,)
    tasks = [(part, reference) for reference in references for part in parts]
    map_tasks = executor.map if executor is not None and shared else map
    results = list(map_tasks(lambda task: nearest(*task), tasks))
    step = len(parts)
    return [_mutual(results[i : i + step]) for i in range(0, len(results), step)]


def _mutual(parts: Sequence[Nearest]) -> Pairs:
    """Join what was found for parts of the queries, and keep what agrees in both directions."""
    best_reference = torch.cat([rows for rows, _, _ in parts])
    _, value, best_query = parts[0]
    offset = len(parts[0][0])
    for rows, part_value, part_query in parts[1:]:
        best_query = torch.where(part_value > value, part_query + offset, best_query)
        value = torch.maximum(value, part_value)
        offset += len(rows)
    queries = torch.arange(len(best_reference), device=best_reference.device)
    if not len(best_query):
        return queries[:0], queries[:0]
    mutual = best_query[best_reference] == queries
    return queries[mutual], best_reference[mutual]


def _nearest(query: torch.Tensor, reference: torch.Tensor) -> Nearest:
    """Return the best reference of each query; the greatest similarity and query of each reference.

    Any type, any device.
    """
    best_reference = [torch.zeros(0, dtype=torch.int64, device=query.device)]
    column_value = torch.full((len(reference),), -torch.inf, device=query.device)
    column_index = torch.zeros(len(reference), dtype=torch.int64, device=query.device)
    for start in range(0, len(query) if len(reference) else 0, TILE_ROWS):
        tile = query[start : start + TILE_ROWS].float() @ reference.float().T
        best_reference.append(tile.argmax(dim=1))
        value, index = tile.max(dim=0)
        better = value > column_value
        column_value = torch.where(better, value, column_value)
        column_index = torch.where(better, index + start, column_index)
    return torch.cat(best_reference), column_value, column_index


def _nearest_integer(query: torch.Tensor, reference: torch.Tensor) -> Nearest:
    """Do the same for int8 on a CPU, with one fused pass over a tile."""
    count = len(query) if len(reference) else 0
    rows = np.zeros(count, np.int64)
    value = np.full(len(reference), LOWEST)
    index = np.zeros(len(reference), np.int64)
    multiply = _products_with(reference)
    for start in range(0, count, TILE_ROWS):
        _update(multiply(query[start : start + TILE_ROWS]).numpy(), start, rows, value, index)
    return torch.from_numpy(rows), torch.from_numpy(value), torch.from_numpy(index)


def _products_with(reference: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what multiplies a tile of queries with a reference: int8 in, int32 (rows, M) out.

    The result is overwritten by the next tile: fresh memory for each would cost as much as the
    product.
    """
    whole = torch.empty(TILE_ROWS, len(reference), dtype=torch.int32)
    if torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return lambda part: torch._int_mm(part, reference.T, out=whole[: len(part)])
    # Without AVX-512 torch multiplies integers one by one, 20 times slower than it does floats.
    # Those are exact here: sums of 512 products of 8-bit numbers stay below 2^24.
    columns = reference.float().T
    exact = torch.empty(TILE_ROWS, len(reference))

    def multiply(part: torch.Tensor) -> torch.Tensor:
        return whole[: len(part)].copy_(torch.mm(part.float(), columns, out=exact[: len(part)]))

    return multiply


@numba.njit(nogil=True, inline="always")
def _scan(
    row: NDArray[np.int32], first: int, last: int, tag: np.int32, tagged: NDArray[np.int32]
) -> np.int32:
    """Return the maximum of some columns of a row, and update what each column has seen."""
    best = LOWEST
    for j in range(first, last):
        best = max(best, row[j])
        tagged[j] = max(tagged[j], np.int32(row[j] * TAG + tag))
    return best


@numba.njit(nogil=True, cache=True)
def _update(
    tile: NDArray[np.int32],
    start: int,
    rows: NDArray[np.int64],
    column_value: NDArray[np.int32],
    column_index: NDArray[np.int64],
) -> None:
    """Take one tile, of at most TILE_ROWS rows, into account.

    A similarity and the row it stands in are one number, of which the greatest wins: so columns
    need no second array of indices, and the compiler can use the CPU's vectors.
    """
    num_rows, num_columns = tile.shape
    tagged = np.full(num_columns, LOWEST, np.int32)
    num_blocks = num_columns // BLOCK
    block_best = np.empty(num_blocks + 1, np.int32)
    for i in range(num_rows):
        tag = np.int32(TAG - 1 - i)
        for b in range(num_blocks):
            block_best[b] = _scan(tile[i], b * BLOCK, b * BLOCK + BLOCK, tag, tagged)
        block_best[num_blocks] = _scan(tile[i], num_blocks * BLOCK, num_columns, tag, tagged)
        block = np.argmax(block_best)
        for j in range(block * BLOCK, num_columns):
            if tile[i, j] == block_best[block]:
                rows[start + i] = j
                break
    for j in range(num_columns):
        similarity = tagged[j] // TAG
        if similarity > column_value[j]:
            column_value[j] = similarity
            column_index[j] = start + TAG - 1 - (tagged[j] - similarity * TAG)

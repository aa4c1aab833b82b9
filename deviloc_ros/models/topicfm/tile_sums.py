"""What is read off a tile of similarities in one pass over it, compiled by numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_LOG2_E = np.float32(1.4426950408889634)
# Taylor's series of 2^x on [-1/2, 1/2]: what is left out is below 1e-7.
_C1, _C2, _C3 = np.float32(0.6931471806), np.float32(0.2402265070), np.float32(0.0555041087)
_C4, _C5, _C6 = np.float32(0.0096181291), np.float32(0.0013333558), np.float32(0.0001540353)
_LEAST_POWER = np.float32(-126.0)

# Entries of a row among which large ones are looked for one by one, if there are any.
_LOOKED_AT_ONCE = 64


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def add_float32(
    tile: NDArray[np.float32],
    shift: np.float32,
    of_rows: NDArray[np.float32],
    of_columns: NDArray[np.float32],
    threshold: np.float32,
    index: NDArray[np.int32],
    entries: NDArray[np.float32],
) -> int:
    """Add exp(tile - shift) to the sums; write its entries large in their row as known so far.

    No exponent may reach 88; what is below -87 counts as that.
    """
    count = 0
    powers, row = np.empty(tile.shape[1], np.int32), np.empty(tile.shape[1], np.float32)
    for i in range(len(tile)):
        _exponentials(tile[i], shift, powers, powers.view(np.float32), row)
        count = _add_row(row, i, of_rows, of_columns, threshold, index, entries, count)
    return count


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def add_bfloat16(
    bits: NDArray[np.uint16],
    shift: np.float32,
    of_rows: NDArray[np.float32],
    of_columns: NDArray[np.float32],
    threshold: np.float32,
    index: NDArray[np.int32],
    entries: NDArray[np.float32],
) -> int:
    """Do the same with a tile given as bits of bfloat16."""
    count = 0
    width = bits.shape[1]
    words, powers = np.empty(width, np.uint32), np.empty(width, np.int32)
    row = np.empty(width, np.float32)
    for i in range(len(bits)):
        for j in range(width):
            words[j] = np.uint32(bits[i, j]) << np.uint32(16)
        _exponentials(words.view(np.float32), shift, powers, powers.view(np.float32), row)
        count = _add_row(row, i, of_rows, of_columns, threshold, index, entries, count)
    return count


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _exponentials(
    values: NDArray[np.float32],
    shift: np.float32,
    powers: NDArray[np.int32],
    scales: NDArray[np.float32],
    row: NDArray[np.float32],
) -> None:
    """Write exp(values - shift) to a row; powers and scales are the same memory."""
    for j in range(len(values)):
        power = max((values[j] - shift) * _LOG2_E, _LEAST_POWER)
        whole = np.floor(power + np.float32(0.5))
        part = power - whole
        powers[j] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        row[j] = np.float32(1) + part * (
            _C1 + part * (_C2 + part * (_C3 + part * (_C4 + part * (_C5 + part * _C6))))
        )
    for j in range(len(values)):
        row[j] *= scales[j]


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _add_row(
    row: NDArray[np.float32],
    i: int,
    of_rows: NDArray[np.float32],
    of_columns: NDArray[np.float32],
    threshold: np.float32,
    index: NDArray[np.int32],
    entries: NDArray[np.float32],
    count: int,
) -> Any:
    total = np.float32(0)
    for j in range(len(row)):
        total += row[j]
        of_columns[j] += row[j]
    of_rows[i] += total
    limit = threshold * of_rows[i]
    for start in range(0, len(row), _LOOKED_AT_ONCE):
        part = row[start : start + _LOOKED_AT_ONCE]
        if _number_above(part, limit) > 0:
            for j in range(len(part)):
                if part[j] > limit:
                    index[0, count], index[1, count] = i, start + j
                    entries[count] = part[j]
                    count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _number_above(values: NDArray[np.float32], limit: np.float32) -> Any:
    """Count without a branch: a few instructions for 16 values."""
    number = np.int32(0)
    for j in range(len(values)):
        number += np.int32(1) if values[j] > limit else np.int32(0)
    return number

"""What is read off a tile of similarities in one pass over it, compiled by numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_LOG2_E = np.float32(1.4426950408889634)
# 2^x on [-1/2, 1/2], relative error 3e-6.
_C1, _C2, _C3 = np.float32(0.69314718), np.float32(0.24022651), np.float32(0.05550411)
_C4, _C5 = np.float32(0.00961813), np.float32(0.00133336)
_LEAST_POWER = np.float32(-126.0)


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def add_exponentials(
    tile: NDArray[np.float32],
    of_rows: NDArray[np.float32],
    of_columns: NDArray[np.float32],
    threshold: np.float32,
    index: NDArray[np.int32],
    entries: NDArray[np.float32],
) -> int:
    """Add a tile to the sums; write its entries that are large in their row as known so far."""
    count = 0
    for i in range(len(tile)):
        count = _add_row(tile[i], i, of_rows, of_columns, threshold, index, entries, count)
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
    """Do the same with the exponentials of a tile given as bits of bfloat16, minus a shift.

    No exponent may reach 88; what is below -87 counts as that.
    """
    count = 0
    width = bits.shape[1]
    words, powers = np.empty(width, np.uint32), np.empty(width, np.int32)
    values, row = words.view(np.float32), np.empty(width, np.float32)
    scales = powers.view(np.float32)
    for i in range(len(bits)):
        for j in range(width):
            words[j] = np.uint32(bits[i, j]) << np.uint32(16)
        for j in range(width):
            power = max((values[j] - shift) * _LOG2_E, _LEAST_POWER)
            whole = np.floor(power + np.float32(0.5))
            part = power - whole
            powers[j] = (np.int32(whole) + np.int32(127)) << np.int32(23)
            row[j] = np.float32(1) + part * (
                _C1 + part * (_C2 + part * (_C3 + part * (_C4 + part * _C5)))
            )
        for j in range(width):
            row[j] *= scales[j]
        count = _add_row(row, i, of_rows, of_columns, threshold, index, entries, count)
    return count


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
    total, largest = np.float32(0), np.float32(0)
    for j in range(len(row)):
        total += row[j]
        largest = max(largest, row[j])
        of_columns[j] += row[j]
    of_rows[i] += total
    limit = threshold * of_rows[i]
    if largest > limit:
        for j in range(len(row)):
            if row[j] > limit:
                index[0, count], index[1, count], entries[count] = i, j, row[j]
                count += 1
    return count

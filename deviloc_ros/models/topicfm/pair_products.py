"""Products of chosen pairs of features."""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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

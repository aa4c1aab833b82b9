"""Mutual maxima of the dual softmax, without ever holding the full matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deviloc_ros.models.topicfm.exponential_tiles import exponential_sums, pair_products

# Largest number of similarities held at once: 4 MiB, which fits the cache of a CPU, and half of it
# again for a product in half precision. A GPU goes about it in another way: see at_once.py.
MAX_SIMILARITIES = 1024 * 1024

# Exponents of float32 stay accurate over this range below a common maximum.
_SAFE_RANGE = 60.0

_TINY = 1e-30

# How far the logarithm of a row softmax may be off by rounding of the similarities.
_MARGIN = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.5}


@dataclass(frozen=True)
class CoarseMatches:
    """Matched cells of a pair of coarse maps, most confident first.

    Attributes:
        query: (M,) int64, index of the query's cell in raster order.
        reference: (M,) int64, index of the reference's cell.
        confidence: (M,) float32, product of the two softmaxes.
    """

    query: Tensor
    reference: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Candidates:
    """Cells that pass the row softmax: indices of rows and columns, and their similarity."""

    rows: Tensor
    columns: Tensor
    similarity: Tensor


def coarse_matches(
    query: Tensor,
    reference: Tensor,
    grids: tuple[tuple[int, int], tuple[int, int]],
    threshold: float,
    border: int,
    max_similarities: int | None = None,
) -> CoarseMatches:
    """Match cells whose dual-softmax confidence is the maximum of its row and of its column.

    With C the similarities, P = softmax over the query's cells * softmax over the reference's.
    (i, j) match iff P_ij > threshold and P_ij equals the maximum of its row and its column (ties
    give several matches). Border cells are removed afterwards: they compete, but do not match.

    Neither factor of P exceeds 1, so P > threshold needs a row softmax above it. Those are at most
    1 / threshold cells a row and are found while C is made in blocks of rows. Everything that can
    beat a candidate is a candidate itself: the maxima over candidates are the maxima that count.

    Args:
        query: (L, 256) features.
        reference: (S, 256) features.
        grids: (h, w) of the query's and the reference's coarse map.
        threshold: least confidence, exclusive; positive.
        border: width of the rim of each map that gives no matches, cells.
        max_similarities: largest number of similarities held at once; None for
            `MAX_SIMILARITIES`.
    """
    if threshold <= 0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    candidates, row_log_sum, column_log_sum = dual_softmax_candidates(
        query, reference, threshold, max_similarities
    )
    i, j = candidates.rows, candidates.columns
    confidence = (candidates.similarity - row_log_sum[i]).exp()
    confidence *= (candidates.similarity - column_log_sum[j]).exp()
    row_best = torch.zeros_like(row_log_sum).scatter_reduce_(0, i, confidence, "amax")
    column_best = torch.zeros_like(column_log_sum).scatter_reduce_(0, j, confidence, "amax")
    keep = (confidence > threshold) & (confidence == row_best[i]) & (confidence == column_best[j])
    keep &= inside(i, grids[0], border) & inside(j, grids[1], border)
    confidence, order = confidence[keep].sort(descending=True, stable=True)
    return CoarseMatches(i[keep][order], j[keep][order], confidence)


def dual_softmax_candidates(
    query: Tensor, reference: Tensor, threshold: float, max_similarities: int | None = None
) -> tuple[Candidates, Tensor, Tensor]:
    """Return cells with a row softmax above the threshold, and the softmaxes' normalisers.

    Under autocast the similarities are products in its precision. What dominates a sum of
    exponentials is a candidate: there the exact similarity takes the place of the rounded one.

    Returns:
        The candidates (rows, columns, similarity), and log sum exp of every row (L,) and of every
        column (S,) of the similarities, float32.
    """
    device = query.device.type
    if max_similarities is None:
        max_similarities = MAX_SIMILARITIES
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    with torch.autocast(device, enabled=False):
        query, reference = query.float() / math.sqrt(query.shape[1]), reference.float()
        if dtype is torch.float32:
            return _candidates(query, reference, threshold, max_similarities)
        found, row_log_sum, column_log_sum = _candidates(
            query.to(dtype), reference.to(dtype), threshold, max_similarities
        )
        exact = pair_products(query, reference, found.rows, found.columns)
        return (
            Candidates(found.rows, found.columns, exact),
            _exchanged(row_log_sum, found.rows, found.similarity, exact),
            _exchanged(column_log_sum, found.columns, found.similarity, exact),
        )


def _exchanged(log_sum: Tensor, index: Tensor, rounded: Tensor, exact: Tensor) -> Tensor:
    """Return logarithms of sums of exponentials in which exact terms replace rounded ones."""
    old = log_sum[index]
    share = torch.zeros_like(log_sum).index_add_(0, index, (rounded - old).exp())
    change = torch.zeros_like(log_sum).index_add_(0, index, (exact - old).exp())
    return log_sum + ((1 - share).clamp_min_(0) + change).clamp_min_(_TINY).log_()


def _candidates(
    query: Tensor, reference: Tensor, threshold: float, max_similarities: int
) -> tuple[Candidates, Tensor, Tensor]:
    # A margin for rounding: the strict test is made on the final confidence.
    log_threshold = math.log(threshold) - _MARGIN[query.dtype]
    if query.device.type == "cpu":
        sums = exponential_sums(query, reference, math.exp(log_threshold), max_similarities)
        if sums is not None:
            similarity = sums.exponentials.log() + sums.shift
            return (
                Candidates(sums.rows, sums.columns, similarity),
                sums.of_rows.log() + sums.shift,
                sums.of_columns.log() + sums.shift,
            )
    num_rows, num_columns = len(query), len(reference)
    block = max(1, min(num_rows, max_similarities // max(num_columns, 1)))
    buffer = query.new_empty(block, num_columns, dtype=torch.float32)
    found: list[Candidates] = []
    row_log_sums: list[Tensor] = []
    column_log_sum = torch.full((num_columns,), -math.inf, device=query.device)
    for start in range(0, num_rows, block):
        rows = query[start : start + block]
        similarity = buffer[: len(rows)]
        if rows.dtype is torch.float32:
            torch.mm(rows, reference.T, out=similarity)
        else:
            similarity.copy_(F.linear(rows, reference))
        of_rows, of_columns = _log_sums(similarity)
        i, j = (similarity > (of_rows + log_threshold)[:, None]).nonzero(as_tuple=True)
        found.append(Candidates(i + start, j, similarity[i, j]))
        row_log_sums.append(of_rows)
        column_log_sum = torch.logaddexp(column_log_sum, of_columns)
    candidates = Candidates(
        torch.cat([part.rows for part in found]),
        torch.cat([part.columns for part in found]),
        torch.cat([part.similarity for part in found]),
    )
    return candidates, torch.cat(row_log_sums), column_log_sum


def _log_sums(block: Tensor) -> tuple[Tensor, Tensor]:
    """Return log sum exp of the rows and of the columns of a block."""
    row_max, column_max = block.amax(1), block.amax(0)
    top = row_max.max()
    if float(top - torch.minimum(row_max.min(), column_max.min())) < _SAFE_RANGE:
        # One pass of exponentials serves both directions; no row or column underflows.
        exponentials = (block - top).exp_()
        return exponentials.sum(1).log_() + top, exponentials.sum(0).log_() + top
    return block.logsumexp(1), block.logsumexp(0)


def inside(cells: Tensor, grid: tuple[int, int], border: int) -> Tensor:
    """Return which cells are not in the rim of a map."""
    height, width = grid
    y, x = cells // width, cells % width
    return (y >= border) & (y < height - border) & (x >= border) & (x < width - border)

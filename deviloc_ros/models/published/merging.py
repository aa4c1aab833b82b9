"""Confidence-based Point Aggregation (CPA) over the references of a query."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_EPS = 1e-6


@dataclass(frozen=True)
class Matches2D3D:
    """2D-3D matches of a query.

    Attributes:
        keypoints: (N, 2), query pixels.
        points: (N, 3), map frame, map units.
        confidence: (N,) in (0, 1].
    """

    keypoints: Tensor
    points: Tensor
    confidence: Tensor

    def __len__(self) -> int:
        """Return the number of matches."""
        return len(self.keypoints)


def merge(matches: Matches2D3D, cell_size: float, min_confidence: float | None) -> Matches2D3D:
    """Merge the matches that fall into one cell of the query, as the published code does.

    A cell's match is sum(c x) / (sum(c) + n 1e-6) of its n members: a weighted mean shrunk
    towards the origin by a millimetre a kilometre. Its confidence is the members' plain mean.

    Args:
        matches: of all references, concatenated; summed in this order on a CPU.
        cell_size: s of Q_s(k) = round(k / s) s, query pixels; halves are rounded to even.
        min_confidence: matches must be above it; None keeps all, as in training.

    Returns:
        One match per occupied cell, cells in ascending order of x, then y.
    """
    if min_confidence is not None:
        matches = _select(matches, matches.confidence > min_confidence)
    member_of, num_cells = cells_of(matches.keypoints, cell_size)
    counts = matches.confidence.new_zeros(num_cells)
    counts = counts.index_add(0, member_of, torch.ones_like(matches.confidence))
    weights = matches.confidence[:, None]

    def cell_mean(values: Tensor) -> Tensor:
        sums = values.new_zeros(num_cells, values.shape[1]).index_add(0, member_of, values)
        return sums / counts[:, None]

    confidence = cell_mean(weights)
    return Matches2D3D(
        cell_mean(weights * matches.keypoints) / (confidence + _EPS),
        cell_mean(weights * matches.points) / (confidence + _EPS),
        confidence.squeeze(1),
    )


def merge_exactly(
    matches: Matches2D3D, cell_size: float, min_confidence: float | None
) -> Matches2D3D:
    """Merge by the paper's equation: sum(c x) / sum(c) in float64, nothing shrunk.

    The confidence is the mean weighted by confidence itself, sum(c c) / sum(c): a doubtful member
    neither moves a certain one nor takes away its certainty. Arguments and result as in `merge`.
    """
    matches = Matches2D3D(
        matches.keypoints.double(), matches.points.double(), matches.confidence.double()
    )
    if min_confidence is not None:
        matches = _select(matches, matches.confidence > min_confidence)
    member_of, num_cells = cells_of(matches.keypoints, cell_size)
    weights = matches.confidence[:, None]
    values = torch.cat([matches.keypoints, matches.points, weights, torch.ones_like(weights)], 1)
    sums = values.new_zeros(num_cells, 7).index_add(0, member_of, weights * values)
    means = sums[:, :6] / sums[:, 6:]
    return Matches2D3D(means[:, :2], means[:, 2:5], means[:, 5])


def cells_of(keypoints: Tensor, cell_size: float) -> tuple[Tensor, int]:
    """Return the cell number (N,) of keypoints (N, 2) and how many cells are occupied."""
    cells = (keypoints / cell_size).round().long()
    if len(cells) == 0:
        return cells.new_zeros(0), 0
    occupied, member_of = torch.unique(cells, dim=0, return_inverse=True)
    return member_of, len(occupied)


def concatenate(parts: list[Matches2D3D]) -> Matches2D3D:
    """Put the matches of several references behind each other; at least one part."""
    return Matches2D3D(
        torch.cat([part.keypoints for part in parts]),
        torch.cat([part.points for part in parts]),
        torch.cat([part.confidence for part in parts]),
    )


def _select(matches: Matches2D3D, keep: Tensor) -> Matches2D3D:
    return Matches2D3D(matches.keypoints[keep], matches.points[keep], matches.confidence[keep])

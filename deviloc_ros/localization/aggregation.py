"""Confidence-based Point Aggregation (CPA): one 2D-3D match a query cell, from all references."""

from __future__ import annotations

import numpy as np

from deviloc_ros.localization.types import Correspondences


def aggregate(matches: Correspondences, cell_size: float, min_confidence: float) -> Correspondences:
    """Merge the matches of all references.

    DeViLoc, "Confidence-based Point Aggregation": with Q_s(k) = round(k / s) * s,

        p_j = sum_{i,n} [Q_s(k_i^n) = k_j] c_i^n p_i^n / sum_{i,n} [Q_s(k_i^n) = k_j] c_i^n

    and the query keypoint of a cell is merged in the same way.

    Args:
        matches: of all references i, with their 3D points p and confidences c.
        cell_size: s, query pixels.
        min_confidence: matches at or below it are left out.

    Returns:
        One match a cell, cells ascending by x, then y. Its confidence is the mean of its members'.
    """
    matches = matches.select(matches.confidence > min_confidence)
    if not len(matches):
        return matches
    cells = np.rint(matches.keypoints / cell_size).astype(np.int64)
    # One number a cell: sorting those is many times faster than sorting rows.
    y, height = cells[:, 1] - cells[:, 1].min(), np.ptp(cells[:, 1]) + 1
    _, cell_of, members = np.unique(
        cells[:, 0] * height + y, return_inverse=True, return_counts=True
    )
    count = len(members)
    weight = np.bincount(cell_of, matches.confidence, count)

    def merged(values: np.ndarray) -> np.ndarray:
        sums = [np.bincount(cell_of, matches.confidence * column, count) for column in values.T]
        return np.stack(sums, axis=1) / weight[:, None]

    return Correspondences(
        keypoints=merged(matches.keypoints),
        points3d=merged(matches.points3d),
        confidence=weight / members,
        reference=np.full(count, -1, dtype=np.int64),
        reference_keypoints=np.full((count, 2), np.nan),
    )

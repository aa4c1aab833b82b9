"""Poses over time, and what lies between two of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from deviloc_ros.geometry.transform import Transform

NANOSECONDS = 1_000_000_000
"""In a second."""
MAX_GAP = 500_000_000
"""Between poses further apart than this one would be a guess, nanoseconds."""


@dataclass(frozen=True)
class Trajectory:
    """Poses over time.

    Attributes:
        stamps: (N,) int64, nanoseconds, rising.
        positions: (N, 3) float64, metres.
        rotations: N of them, target_from_base.
    """

    stamps: NDArray[np.int64]
    positions: NDArray[np.float64]
    rotations: Rotation

    def __getitem__(self, index: int) -> Transform:
        """Return target_from_base of a row."""
        return Transform(self.rotations[index], self.positions[index])

    def at(self, stamp: int, max_gap: int = MAX_GAP) -> Transform | None:
        """Return the pose at a time, interpolated; None outside, or in a gap that is too long."""
        after = int(np.searchsorted(self.stamps, stamp))
        if after < len(self.stamps) and self.stamps[after] == stamp:
            return self[after]
        if after in (0, len(self.stamps)):
            return None
        begin, end = int(self.stamps[after - 1]), int(self.stamps[after])
        if end - begin > max_gap:
            return None
        share = (stamp - begin) / (end - begin)
        turn = Slerp([0, 1], self.rotations[after - 1 : after + 1])(share)
        moved = (1 - share) * self.positions[after - 1] + share * self.positions[after]
        return Transform(turn, moved)

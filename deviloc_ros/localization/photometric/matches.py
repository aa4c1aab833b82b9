"""What came out of aligning matches by their pixels, and what that tells of the light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.localization.types import Correspondences

# So many that were found tell a pose without the others: what is not where the matcher says may be
# a thing that was moved, and near things pull a pose the most.
ENOUGH_FOUND = 50


@dataclass(frozen=True)
class AlignedMatches:
    """Matches, most of whose query keypoints were found in the pixels.

    Attributes:
        matches: those that were found have new keypoints.
        covariance: (N, 2, 2) float64, squared query pixels: of the keypoints, and of where the
            3D points would be seen, whose depths are uncertain.
        found: (N,) bool.
        contrast: (N,) float64, of the patch in the query by that in the reference, of those that
            were found.
    """

    matches: Correspondences
    covariance: NDArray[np.float64]
    found: NDArray[np.bool_]
    contrast: NDArray[np.float64]

    @property
    def num_found(self) -> int:
        """Number of matches that were found."""
        return int(np.count_nonzero(self.found))

    def select(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> AlignedMatches:
        """Return the matches that a mask or an index array names."""
        return AlignedMatches(
            self.matches.select(index), self.covariance[index], self.found[index],
            self.contrast[index],
        )  # fmt: skip

    @property
    def light_change(self) -> float:
        """How differently contrast changed from patch to patch; small in the same light.

        Standard deviation of its logarithm among the patches of a reference. Exposure changes all
        of them alike, light from another side does not.
        """
        if not self.num_found:
            return 0.0
        _, reference = np.unique(self.matches.reference[self.found], return_inverse=True)
        change = np.log(self.contrast[self.found])
        mean = np.bincount(reference, change) / np.bincount(reference)
        return float(np.sqrt(np.mean((change - mean[reference]) ** 2)))

    @property
    def whitening(self) -> NDArray[np.float64]:
        """From query pixels to standard deviations: (N, 2, 2), W with W' W = covariance^-1."""
        a, b, c = (self.covariance[:, i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
        result = np.zeros_like(self.covariance)
        determinant = a * c - b * b
        result[:, 0, 0] = np.sqrt(c / determinant)
        result[:, 0, 1] = -b / np.sqrt(c * determinant)
        result[:, 1, 1] = 1 / np.sqrt(c)
        return result


def decisive(of_cameras: Sequence[AlignedMatches]) -> list[AlignedMatches]:
    """Return the matches that tell a body's pose: of all its cameras, those that were found.

    Where these are too few, all do; those that were not found count little then.
    """
    if sum(aligned.num_found for aligned in of_cameras) < ENOUGH_FOUND:
        return list(of_cameras)
    return [aligned.select(aligned.found) for aligned in of_cameras]

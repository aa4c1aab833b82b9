"""By how much XFeat*'s fine offsets are wrong on average, which changes across the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera


@dataclass(frozen=True)
class OffsetBias:
    """Mean errors of a match's query keypoint, for each level of the query's pyramid.

    Attributes:
        constant: (levels, 2) float64, at the image's centre: x and y, network pixels.
        pull: (levels, 2) float64, what comes to that at the right and at the lower edge, and goes
            off it at the left and at the upper one, linear between: x and y, network pixels.
            Negative where matches are pulled towards the centre.
    """

    constant: NDArray[np.float64]
    pull: NDArray[np.float64]

    def at(self, level: int, keypoints: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
        """Return the bias (N, 2) of matches at keypoints (N, 2) of an image, network pixels."""
        return np.asarray(self.constant[level] + self.pull[level] * from_centre(keypoints, camera))


def from_centre(keypoints: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Return where in the image keypoints (N, 2) lie: -1 and 1 at its edges, 0 in the middle."""
    half = np.array([camera.width, camera.height]) / 2
    return np.asarray(keypoints / half - 1)

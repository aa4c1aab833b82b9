"""A satellite receiver's opinion of where an image was taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PositionFix:
    """A fix of a receiver that moves along with a camera.

    Attributes:
        image: name of the image that is nearest in time.
        place: (3,) float64, the antenna's latitude and longitude, WGS 84, degrees, and its altitude
            above the ellipsoid, metres.
        sigmas: (3,) float64, standard deviations to the east, to the north and upwards, metres.
        from_camera: (3,) float64, from the camera when it took the image to the antenna when it had
            the fix, along the camera's axes, metres.
    """

    image: str
    place: NDArray[np.float64]
    sigmas: NDArray[np.float64]
    from_camera: NDArray[np.float64]

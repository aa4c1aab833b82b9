"""Errors of poses against their covariances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.transform import Transform

DEGREES_OF_FREEDOM = 3
"""Of a position, and of an orientation."""


def pose_error(estimated: Transform, true: Transform) -> NDArray[np.float64]:
    """Return by how much a pose `map_from_body` is wrong.

    Returns:
        (6,) float64: shift in the map frame, then turn about the map's fixed axes (radians), as
        geometry_msgs/PoseWithCovariance counts them.
    """
    shift = estimated.translation - true.translation
    return np.concatenate([shift, (estimated.rotation * true.rotation.inv()).as_rotvec()])


def normalised_squared_errors(
    error: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the squared errors of position and orientation in units of their covariance.

    Each follows a chi-squared distribution with three degrees of freedom where the covariance is
    true and errors are Gaussian (Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to
    Tracking and Navigation", 2001, section 5.4).

    Args:
        error: (6,), see `pose_error`.
        covariance: (6, 6) of it, positive definite.
    """
    shift, turn = error[:3], error[3:]
    return (
        float(shift @ np.linalg.solve(covariance[:3, :3], shift)),
        float(turn @ np.linalg.solve(covariance[3:, 3:], turn)),
    )

"""Satellite fixes: how a model of a drive lies on the earth by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.mapping.drive.model import poses_of, transform

ODOMETRY_SCALE_SIGMA = 0.01
"""What wheels, whose radius is never that of the data sheet, know of lengths."""
MIN_FIXES = 3
MAX_HEADING_SIGMA = np.radians(5.0)
"""Fixes that know the heading less well do not give the frame."""
MAX_FIX_ERROR = 5.0
"""Fixes further off, in their sigmas, are left out: reflections."""
STEPS = (0.01, 0.1, 1.0, 1.0, 1.0)
HEADINGS = np.radians(np.arange(0, 360, 5))


@dataclass(frozen=True)
class Placed:
    """Fixes against a model in their frame: east, north, up, metres.

    Attributes:
        enu: (N, 3) float64, antennas as the fixes have them.
        found: (N, 3) float64, antennas as the model has them.
        from_camera: (N, 3) float64, from the camera to the antenna, in the model.
        agrees: (N,) bool, fixes that agree with it.
    """

    enu: NDArray[np.float64]
    found: NDArray[np.float64]
    from_camera: NDArray[np.float64]
    agrees: NDArray[np.bool_]


def fit_to_fixes(
    model: pycolmap.Reconstruction, fixes: Sequence[PositionFix], enu: NDArray[np.float64]
) -> Placed | str:
    """Turn, move and scale a model that lies in the odometry frame; or say why that cannot be.

    Args:
        model: in the odometry frame.
        fixes: N of them.
        enu: (N, 3), where they have their antennas: east, north, up, metres.
    """
    if len(fixes) < MIN_FIXES:
        return f"{len(fixes)} fixes are beside images of the map, at least {MIN_FIXES} are needed"
    poses = poses_of(model)
    arms = np.array([poses[fix.image].rotation.inv().apply(fix.from_camera) for fix in fixes])
    centres = np.array([poses[fix.image].inverse().translation for fix in fixes])
    sigmas = np.array([fix.sigmas for fix in fixes])

    def moved(values: NDArray[np.float64]) -> Similarity:
        turn = Rotation.from_euler("z", values[1])
        # About the middle, so that the five are nearly independent.
        middle = centres.mean(axis=0)
        scale = float(np.exp(values[0]))
        return Similarity(scale, turn, values[2:] - scale * turn.apply(middle))

    def antennas(frame: Similarity) -> NDArray[np.float64]:
        return frame.apply(centres) + frame.rotation.apply(arms)  # arms are metres already

    def errors(values: NDArray[np.float64]) -> NDArray[np.float64]:
        white = (antennas(moved(values)) - enu) / sigmas
        return np.append(white.ravel(), values[0] / ODOMETRY_SCALE_SIGMA)

    starts = []
    for heading in HEADINGS:
        turned = Rotation.from_euler("z", heading).apply(centres - centres.mean(axis=0))
        starts.append(np.array([0.0, heading, *np.median(enu - turned, axis=0)]))
    start = min(starts, key=lambda values: float(np.median(np.abs(errors(values)))))
    robust = least_squares(errors, start, loss="cauchy", x_scale=STEPS)
    agrees = np.linalg.norm(errors(robust.x)[:-1].reshape(-1, 3), axis=1) <= MAX_FIX_ERROR
    rows = np.append(np.repeat(agrees, 3), True)

    def errors_of_agreeing(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(errors(values)[rows])

    best = least_squares(errors_of_agreeing, robust.x, x_scale=STEPS)
    jacobian = np.asarray(best.jac, dtype=np.float64)
    heading_sigma = float(np.sqrt(np.linalg.pinv(jacobian.T @ jacobian)[1, 1]))
    if heading_sigma > MAX_HEADING_SIGMA or agrees.sum() < max(MIN_FIXES, len(fixes) / 2):
        return (
            f"the fixes do not give the frame: {agrees.sum()} of {len(fixes)} agree, the heading "
            f"is known to {np.degrees(heading_sigma):.1f} deg"
        )
    enu_from_odom = moved(best.x)
    transform(model, enu_from_odom)
    return Placed(enu, antennas(enu_from_odom), enu_from_odom.rotation.apply(arms), agrees)

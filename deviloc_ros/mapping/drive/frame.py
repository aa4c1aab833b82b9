"""The frame of a drive's map: metres and z up from odometry, the place on the earth from fixes.

Three steps, of which the first and the last are the same:

1. The model is placed. Odometry gives scale, origin and orientation of the whole. Satellite fixes,
   if there are some, turn that about the vertical, move it, and correct the scale as far as they
   know it better.
2. Bundle adjustment with position priors: all poses and points move together so that reprojection
   errors and the distances from the fixes, each in its sigma, are least. Without fixes the priors
   are odometry's positions, which drift: their sigma is a share of the way. Intrinsics stay.
3. The model is placed again, for fixes hold the tilt of a drive along a line badly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.similarity_fit import UnderdeterminedError, fit_cameras
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.drive.model import poses_of, transform
from deviloc_ros.mapping.drive.position_priors import adjust, fix_priors, odometry_priors
from deviloc_ros.mapping.drive.satellite_fixes import fit_to_fixes
from deviloc_ros.mapping.map_frame import MIN_IMAGES, check_fit, positions_of_wgs84


@dataclass(frozen=True)
class DriveFrame:
    """How a map lies in the frame of its drive.

    Attributes:
        num_odometry: images whose odometry it rests on.
        odometry_scale: metres of the map for a metre of odometry.
        drift: (N,) float64, how far odometry's positions are from the map's after they were laid
            upon each other as rigid bodies, metres.
        origin: latitude, longitude and altitude (3,) of the map's origin, whose x points east and
            y north; None: the frame is that of odometry.
        fix_error: root mean square distance of the fixes that were used, in the plane, metres.
        num_fixes: how many these are, and
        num_left_out: how many were left out as wrong.
        note: why fixes that were given do not give the frame; empty otherwise.
    """

    num_odometry: int
    odometry_scale: float
    drift: NDArray[np.float64]
    origin: NDArray[np.float64] | None = None
    fix_error: float = 0.0
    num_fixes: int = 0
    num_left_out: int = 0
    note: str = ""


def bring_into_frame(
    model: pycolmap.Reconstruction,
    odometry: Mapping[str, Transform],
    fixes: Sequence[PositionFix] = (),
) -> DriveFrame:
    """Bring a model into the frame of its drive and adjust it there, in place.

    Args:
        model: poses and points, in any frame and scale.
        odometry: camera_from_odometry by name of image, metres, z up.
        fixes: beside images; those of images without a pose are not used.

    Raises:
        InputError: fewer than 3 images of the model have odometry, or it does not fit the model.
    """
    names = {image.name for image in model.images.values() if image.has_pose}
    odometry = {name: pose for name, pose in odometry.items() if name in names}
    if len(odometry) < MIN_IMAGES:
        raise InputError(
            f"{len(odometry)} images of the map have odometry, at least {MIN_IMAGES} are needed"
        )
    fixes = [fix for fix in fixes if fix.image in odometry]
    note, origin, enu = "", None, np.zeros((0, 3))
    if fixes:
        places, origin = positions_of_wgs84({str(i): fix.place for i, fix in enumerate(fixes)})
        enu = np.array([places[str(i)] for i in range(len(fixes))])
    _fit_to_odometry(model, odometry)
    placed = fit_to_fixes(model, fixes, enu)
    if isinstance(placed, str):
        note, origin, fixes = placed if fixes else "", None, []
        adjust(model, odometry_priors(odometry))
        _fit_to_odometry(model, odometry)
        return DriveFrame(*_drift(model, odometry), note=note)
    adjust(model, fix_priors(fixes, placed))
    _fit_to_odometry(model, odometry)
    again = fit_to_fixes(model, fixes, enu)
    if isinstance(again, str):  # pragma: no cover - the adjustment does not bend a drive to a point
        raise InputError(again)
    off = np.linalg.norm((again.enu - again.found)[again.agrees, :2], axis=1)
    return DriveFrame(
        *_drift(model, odometry),
        origin,
        float(np.sqrt(np.mean(off**2))),
        int(again.agrees.sum()),
        int((~again.agrees).sum()),
    )


def _fit_to_odometry(model: pycolmap.Reconstruction, odometry: Mapping[str, Transform]) -> None:
    """Bring the model into the odometry frame."""
    poses = poses_of(model)
    try:
        fit = fit_cameras([poses[name] for name in odometry], list(odometry.values()))
    except UnderdeterminedError as error:
        raise InputError(f"odometry does not give the map's frame: {error}") from None
    check_fit(fit, np.array([pose.inverse().translation for pose in odometry.values()]))
    transform(model, fit.target_from_source)


def _drift(
    model: pycolmap.Reconstruction, odometry: Mapping[str, Transform]
) -> tuple[int, float, NDArray[np.float64]]:
    """Return of how many images it is, the map's metres for one of odometry, and the drift (N,)."""
    poses = poses_of(model)
    source, target = [poses[name] for name in odometry], list(odometry.values())
    scale = 1 / fit_cameras(source, target).target_from_source.scale
    return len(source), scale, fit_cameras(source, target, fixed_scale=True).residuals

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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.similarity_fit import UnderdeterminedError, fit_cameras
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.map_frame import MIN_IMAGES, check_fit, positions_of_wgs84

ODOMETRY_SCALE_SIGMA = 0.01
"""What wheels, whose radius is never that of the data sheet, know of lengths."""
ODOMETRY_DRIFT = 0.01
MIN_ODOMETRY_SIGMA = 0.05
MIN_FIXES = 3
MAX_HEADING_SIGMA = np.radians(5.0)
"""Fixes that know the heading less well do not give the frame."""
MAX_FIX_ERROR = 5.0
"""Fixes further off, in their sigmas, are left out: reflections."""
MIN_PIXEL_SIGMA = 0.1
STEPS = (0.01, 0.1, 1.0, 1.0, 1.0)
HEADINGS = np.radians(np.arange(0, 360, 5))


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


@dataclass(frozen=True)
class _Placed:
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
    placed = _fit_to_fixes(model, fixes, enu)
    if isinstance(placed, str):
        note, origin, fixes = placed if fixes else "", None, []
        _adjust(model, _odometry_priors(odometry))
        _fit_to_odometry(model, odometry)
        return DriveFrame(*_drift(model, odometry), note=note)
    _adjust(model, _fix_priors(fixes, placed))
    _fit_to_odometry(model, odometry)
    again = _fit_to_fixes(model, fixes, enu)
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


def _poses(model: pycolmap.Reconstruction) -> dict[str, Transform]:
    return {
        image.name: Transform.from_matrix(
            np.vstack([image.cam_from_world().matrix(), (0.0, 0.0, 0.0, 1.0)])
        )
        for image in model.images.values()
        if image.has_pose
    }


def _transform(model: pycolmap.Reconstruction, target_from_model: Similarity) -> None:
    rotation = pycolmap.Rotation3d(target_from_model.rotation.as_quat())
    model.transform(
        pycolmap.Sim3d(target_from_model.scale, rotation, target_from_model.translation)
    )


def _fit_to_odometry(model: pycolmap.Reconstruction, odometry: Mapping[str, Transform]) -> None:
    """Bring the model into the odometry frame."""
    poses = _poses(model)
    try:
        fit = fit_cameras([poses[name] for name in odometry], list(odometry.values()))
    except UnderdeterminedError as error:
        raise InputError(f"odometry does not give the map's frame: {error}") from None
    check_fit(fit, np.array([pose.inverse().translation for pose in odometry.values()]))
    _transform(model, fit.target_from_source)


def _fit_to_fixes(
    model: pycolmap.Reconstruction, fixes: Sequence[PositionFix], enu: NDArray[np.float64]
) -> _Placed | str:
    """Turn, move and scale a model that lies in the odometry frame; or say why that cannot be.

    Args:
        model: in the odometry frame.
        fixes: N of them.
        enu: (N, 3), where they have their antennas: east, north, up, metres.
    """
    if len(fixes) < MIN_FIXES:
        return f"{len(fixes)} fixes are beside images of the map, at least {MIN_FIXES} are needed"
    poses = _poses(model)
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
    _transform(model, enu_from_odom)
    return _Placed(enu, antennas(enu_from_odom), enu_from_odom.rotation.apply(arms), agrees)


def _fix_priors(
    fixes: Sequence[PositionFix], placed: _Placed
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the position (3,) and covariance (3, 3) that its fixes together give each camera."""
    weights: dict[str, NDArray[np.float64]] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    rows = zip(fixes, placed.enu, placed.from_camera, placed.agrees, strict=True)
    for fix, enu, from_camera, agrees in rows:
        if agrees:
            weight = 1 / fix.sigmas**2
            weights[fix.image] = weights.get(fix.image, 0.0) + weight
            sums[fix.image] = sums.get(fix.image, 0.0) + weight * (enu - from_camera)
    return {name: (sums[name] / item, np.diag(1 / item)) for name, item in weights.items()}


def _odometry_priors(
    odometry: Mapping[str, Transform],
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return positions (3,) and covariances (3, 3) of cameras by odometry, in its frame."""
    centres = {name: odometry[name].inverse().translation for name in sorted(odometry)}
    way = np.linalg.norm(np.diff(np.array(list(centres.values())), axis=0), axis=1).sum()
    sigma = max(ODOMETRY_DRIFT * float(way), MIN_ODOMETRY_SIGMA)
    return {name: (centre, sigma**2 * np.eye(3)) for name, centre in centres.items()}


def _adjust(
    model: pycolmap.Reconstruction,
    positions: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> None:
    """Adjust poses and points to the images and to prior positions of cameras.

    Bundle adjustment counts reprojection errors in pixels. They are known better or worse than to
    one pixel: covariances of positions are scaled so that both are counted in their own sigma.
    """
    config = pycolmap.BundleAdjustmentConfig()
    variance = _pixel_sigma(model) ** 2
    priors = []
    for image in model.images.values():
        if not image.has_pose:
            continue
        config.add_image(image.image_id)
        if image.name in positions:
            position, covariance = positions[image.name]
            priors.append(
                pycolmap.PosePrior(
                    corr_data_id=image.data_id,
                    position=position,
                    position_covariance=covariance / variance,
                    coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
                )
            )
    for camera_id in model.cameras:
        config.set_constant_cam_intrinsics(camera_id)
    options = pycolmap.BundleAdjustmentOptions(print_summary=False, refine_sensor_from_rig=False)
    prior_options = pycolmap.PosePriorBundleAdjustmentOptions()
    prior_options.alignment_ransac.random_seed = 0
    pycolmap.create_pose_prior_bundle_adjuster(
        options, prior_options, config, priors, model
    ).solve()


def _pixel_sigma(model: pycolmap.Reconstruction) -> float:
    """Return the standard deviation of reprojection errors in each direction, pixels.

    The distances are Rayleigh distributed, whose mean is sqrt(pi / 2) sigma.
    """
    model.update_point_3d_errors()
    mean = float(model.compute_mean_reprojection_error())
    return max(mean / math.sqrt(math.pi / 2), MIN_PIXEL_SIGMA)


def _drift(
    model: pycolmap.Reconstruction, odometry: Mapping[str, Transform]
) -> tuple[int, float, NDArray[np.float64]]:
    """Return of how many images it is, the map's metres for one of odometry, and the drift (N,)."""
    poses = _poses(model)
    source, target = [poses[name] for name in odometry], list(odometry.values())
    scale = 1 / fit_cameras(source, target).target_from_source.scale
    return len(source), scale, fit_cameras(source, target, fixed_scale=True).residuals

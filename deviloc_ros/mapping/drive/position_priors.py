"""Bundle adjustment with prior positions of cameras, from fixes or from odometry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pycolmap
from numpy.typing import NDArray

from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.drive.satellite_fixes import Placed

ODOMETRY_DRIFT = 0.01
MIN_ODOMETRY_SIGMA = 0.05
MIN_PIXEL_SIGMA = 0.1


def fix_priors(
    fixes: Sequence[PositionFix], placed: Placed
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


def odometry_priors(
    odometry: Mapping[str, Transform],
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return positions (3,) and covariances (3, 3) of cameras by odometry, in its frame."""
    centres = {name: odometry[name].inverse().translation for name in sorted(odometry)}
    way = np.linalg.norm(np.diff(np.array(list(centres.values())), axis=0), axis=1).sum()
    sigma = max(ODOMETRY_DRIFT * float(way), MIN_ODOMETRY_SIGMA)
    return {name: (centre, sigma**2 * np.eye(3)) for name, centre in centres.items()}


def adjust(
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

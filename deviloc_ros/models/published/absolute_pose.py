"""RANSAC-PnP with the options under which the published results were made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.models.published.settings import PublishedSettings

# Defaults of pycolmap 0.4.0, which the published code relied on; later versions changed them.
_MIN_INLIER_RATIO = 0.01
_MIN_NUM_TRIALS = 1000
_DYNAMIC_TRIALS_MULTIPLIER = 3.0
_RANDOM_SEED = 0
LOSS_SCALE = 1.0
_GRADIENT_TOLERANCE = 1.0
_MAX_REFINEMENTS = 100

_MIN_MATCHES = 4


@dataclass(frozen=True)
class PublishedPose:
    """A pose as RANSAC found it; nothing has verified it yet.

    Attributes:
        camera_from_map: the pose.
        inliers: (N,) bool, matches within the threshold.
    """

    camera_from_map: Transform
    inliers: NDArray[np.bool_]


def estimate_pose(
    keypoints: NDArray[np.float64],
    points: NDArray[np.float64],
    camera: Camera,
    settings: PublishedSettings,
) -> PublishedPose | None:
    """Estimate the pose from 2D-3D matches, unweighted; None where RANSAC finds none.

    The published code writes an identity pose on failure. That looks like a result, so even the
    compatible behaviour does not do it.

    Args:
        keypoints: (N, 2), pixels.
        points: (N, 3), map frame.
        camera: intrinsics with distortion; the image was not undistorted.
        settings: thresholds of RANSAC.
    """
    if len(keypoints) < _MIN_MATCHES:
        return None
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.ransac.max_error = settings.ransac_threshold
    estimation.ransac.max_num_trials = settings.ransac_max_trials
    estimation.ransac.confidence = settings.ransac_confidence
    estimation.ransac.min_inlier_ratio = _MIN_INLIER_RATIO
    estimation.ransac.min_num_trials = min(_MIN_NUM_TRIALS, settings.ransac_max_trials)
    estimation.ransac.dyn_num_trials_multiplier = _DYNAMIC_TRIALS_MULTIPLIER
    estimation.ransac.random_seed = _RANDOM_SEED
    refinement = pycolmap.AbsolutePoseRefinementOptions()
    refinement.loss_function_scale = LOSS_SCALE
    refinement.gradient_tolerance = _GRADIENT_TOLERANCE
    refinement.max_num_iterations = _MAX_REFINEMENTS
    refinement.refine_focal_length = False
    refinement.refine_extra_params = False
    result = pycolmap.estimate_and_refine_absolute_pose(
        np.asarray(keypoints, np.float64),
        np.asarray(points, np.float64),
        camera.colmap,
        estimation,
        refinement,
    )
    if result is None:
        return None
    return PublishedPose(
        Transform.from_matrix(result["cam_from_world"].matrix()),
        np.asarray(result["inlier_mask"], dtype=bool),
    )


def parse_camera_line(line: str) -> tuple[int, Camera]:
    """Read "id_or_name MODEL width height param ..."; a name instead of a number is camera 0.

    Raises:
        InputError: the line is not such a line.
    """
    identifier, _, rest = line.strip().partition(" ")
    try:
        number = int(identifier)
    except ValueError:
        number = 0
    if not rest:
        raise InputError(f"camera line {line!r}: expected 'name MODEL width height param ...'")
    return number, Camera.parse(rest)

"""RANSAC-PnP: the pose of a calibrated camera from 2D-3D matches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.config import PoseConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.least_squares import refine
from deviloc_ros.localization.types import Correspondences

MIN_MATCHES = 4
# RANSAC counts votes of so many matches, spread evenly over the image, and of all where fewer than
# a fifth of these agree. Its time grows with them; the pose is refined with all that agree.
VOTERS = 1000
CLEAR = 0.2
MIN_TRIALS = 30
# Below this share of inliers the number of trials is bounded by max_iterations alone.
MIN_INLIER_RATIO = 0.02


@dataclass(frozen=True)
class PoseHypothesis:
    """A pose and the matches that agree with it.

    Attributes:
        camera_from_map: the pose.
        inliers: (N,) bool, matches whose reprojection error is below the threshold.
        residuals: (N, 2) float64, projection minus keypoint, pixels; NaN behind the camera.
    """

    camera_from_map: Transform
    inliers: NDArray[np.bool_]
    residuals: NDArray[np.float64]

    @property
    def num_inliers(self) -> int:
        """Number of matches that agree."""
        return int(np.count_nonzero(self.inliers))


def estimate_pose(
    matches: Correspondences, camera: Camera, config: PoseConfig, pixel_scale: float, seed: int
) -> PoseHypothesis | None:
    """Estimate a pose by LO-RANSAC over minimal P3P solutions, then minimise reprojection errors.

    The camera model's own distortion is used; nothing is undistorted beforehand.

    Args:
        matches: 2D-3D matches.
        camera: intrinsics of the query.
        config: thresholds.
        pixel_scale: query pixels per pixel of the working size.
        seed: of RANSAC's samples.

    Returns:
        The pose with the most support, or None where RANSAC found none.
    """
    if len(matches) < MIN_MATCHES:
        return None
    threshold = config.max_reprojection_error * pixel_scale
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = threshold
    options.ransac.confidence = config.confidence
    options.ransac.max_num_trials = config.max_iterations
    options.ransac.min_num_trials = min(MIN_TRIALS, config.max_iterations)
    options.ransac.min_inlier_ratio = MIN_INLIER_RATIO
    options.ransac.random_seed = seed
    # Far from the map's origin the solver would lose digits.
    centre = np.median(matches.points3d, axis=0)
    points = matches.points3d - centre
    centred = replace(matches, points3d=points)
    first = _by_ransac(centred, camera, options)
    if first is None:
        return None
    consensus = agreement(first, centred, camera, threshold).inliers
    camera_from_centre = refine(
        camera, first, matches.keypoints[consensus], points[consensus],
        config.loss_scale * pixel_scale,
    )  # fmt: skip
    camera_from_map = camera_from_centre @ Transform(Rotation.identity(), -centre)
    agreed = agreement(camera_from_centre, centred, camera, threshold)
    return replace(agreed, camera_from_map=camera_from_map)


def _by_ransac(
    matches: Correspondences, camera: Camera, options: pycolmap.AbsolutePoseEstimationOptions
) -> Transform | None:
    """Return the pose that most of the matches agree with."""
    for count in sorted({min(VOTERS, len(matches)), len(matches)}):
        voters = np.linspace(0, len(matches) - 1, count).round().astype(np.int64)
        answer = pycolmap.estimate_absolute_pose(
            matches.keypoints[voters], matches.points3d[voters], camera.colmap, options
        )
        enough = CLEAR * count if count < len(matches) else 0
        if answer is not None and answer["num_inliers"] >= enough:
            rigid = answer["cam_from_world"]
            return Transform(Rotation.from_quat(rigid.rotation.quat), rigid.translation)
    return None


def agreement(
    camera_from_map: Transform, matches: Correspondences, camera: Camera, threshold: float
) -> PoseHypothesis:
    """Return a pose with the matches that agree with it.

    Args:
        camera_from_map: the pose.
        matches: 2D-3D matches.
        camera: intrinsics of the query.
        threshold: least reprojection error of a match that does not agree, pixels.
    """
    residuals = camera.project(camera_from_map.apply(matches.points3d)) - matches.keypoints
    error = np.linalg.norm(residuals, axis=1)
    return PoseHypothesis(camera_from_map, np.nan_to_num(error, nan=np.inf) < threshold, residuals)


def agreeing(
    hypothesis: PoseHypothesis, matches: Correspondences, camera: Camera
) -> Correspondences:
    """Return which matches, not merged, are as near to a pose as the worst of its inliers."""
    errors = np.linalg.norm(hypothesis.residuals[hypothesis.inliers], axis=1)
    projected = camera.project(hypothesis.camera_from_map.apply(matches.points3d))
    distance = np.linalg.norm(projected - matches.keypoints, axis=1)
    with np.errstate(invalid="ignore"):
        near = np.asarray(distance <= errors.max(initial=0.0), dtype=np.bool_)
    return matches.select(near)

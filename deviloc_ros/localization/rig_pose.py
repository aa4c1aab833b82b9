"""One pose of a base from the 2D-3D matches of all cameras on it: generalized RANSAC-PnP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.config import PoseConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.covariance import image_cells, m_estimate_covariance
from deviloc_ros.localization.pose import MIN_INLIER_RATIO, MIN_MATCHES, MIN_TRIALS
from deviloc_ros.localization.refinement import minimise
from deviloc_ros.localization.rig_matches import RigMatches


@dataclass(frozen=True)
class RigHypothesis:
    """A pose of the base and the matches that agree with it.

    Attributes:
        base_from_map: the pose.
        inliers: (N,) bool, matches whose reprojection error is below the threshold.
    """

    base_from_map: Transform
    inliers: NDArray[np.bool_]

    @property
    def num_inliers(self) -> int:
        """Number of matches that agree."""
        return int(np.count_nonzero(self.inliers))


def estimate_rig_pose(
    matches: RigMatches, config: PoseConfig, seed: int, min_inlier_ratio: float = MIN_INLIER_RATIO
) -> RigHypothesis | None:
    """Estimate the base's pose by LO-RANSAC over generalized P3P, then minimise all errors jointly.

    Samples may mix cameras or come from one: a rig of which one camera alone sees the map has a
    pose, too.

    Args:
        matches: of all cameras.
        config: thresholds, in working pixels.
        seed: of RANSAC's samples.
        min_inlier_ratio: poses that fewer agree with need not be found.

    Returns:
        The pose with the most support, or None where RANSAC found none.
    """
    if len(matches) < MIN_MATCHES:
        return None
    options = pycolmap.RANSACOptions()
    options.max_error = config.max_reprojection_error
    options.confidence = config.confidence
    options.max_num_trials = config.max_iterations
    options.min_num_trials = MIN_TRIALS
    options.min_inlier_ratio = min_inlier_ratio
    options.random_seed = seed
    # Far from the map's origin the solver would lose digits.
    centre = np.median(matches.points3d, axis=0)
    centred = matches.moved(-centre)
    answer = pycolmap.estimate_generalized_absolute_pose(
        centred.keypoints,
        centred.points3d,
        centred.owner.tolist(),
        [_rigid(base_from_camera.inverse()) for base_from_camera in matches.base_from_camera],
        [camera.colmap for camera in matches.cameras],
        options,
    )
    if answer is None:
        return None
    rigid, consensus = answer["rig_from_world"], np.asarray(answer["inlier_mask"], dtype=np.bool_)
    base_from_centre = refine_rig(
        centred.select(consensus),
        Transform(Rotation.from_quat(rigid.rotation.quat), rigid.translation),
        config.loss_scale,
    )
    error = np.linalg.norm(centred.residuals(base_from_centre), axis=1)
    base_from_map = base_from_centre @ Transform(Rotation.identity(), -centre)
    return RigHypothesis(
        base_from_map, np.nan_to_num(error, nan=np.inf) < config.max_reprojection_error
    )


def refine_rig(matches: RigMatches, base_from_map: Transform, loss_scale: float) -> Transform:
    """Return the base's pose with the least sum of Cauchy losses near a first one."""
    # Within a refinement projections move by few pixels, over which the lens stays the same.
    lens = matches.lens(base_from_map)
    return minimise(base_from_map, lambda pose: matches.linearise(pose, lens), loss_scale)


def rig_covariance(
    hypothesis: RigHypothesis,
    merged: RigMatches,
    matches: RigMatches,
    loss_scale: float,
    scale: tuple[float, float],
) -> NDArray[np.float64] | None:
    """Return the covariance (6, 6) of map_from_base, or None where the pose is not determined.

    As `pose_covariance`, with the derivatives by the base's shift and turn. Places in the images of
    different cameras are different groups; a reference seen by several is one.

    Args:
        hypothesis: the pose and its inliers.
        merged: what it was estimated from.
        matches: of all references, before they were merged.
        loss_scale: of the Cauchy loss in the refinement, working pixels.
        scale: factors on the position's and on the rotation's block, of the map.
    """
    pose = hypothesis.base_from_map
    errors = np.linalg.norm(merged.select(hypothesis.inliers).residuals(pose), axis=1)
    residuals, derivative = matches.linearise(pose, matches.lens(pose))
    near = np.linalg.norm(residuals, axis=1) <= errors.max(initial=0.0)
    near &= np.isfinite(derivative).all(axis=(1, 2))
    agreeing = matches.select(near)
    place = np.empty(len(agreeing), dtype=np.int64)
    for index, camera in enumerate(matches.cameras):
        own = agreeing.owner == index
        place[own] = image_cells(agreeing.keypoints[own], camera) * len(matches.cameras) + index
    return m_estimate_covariance(
        derivative[near],
        residuals[near],
        agreeing.confidence,
        (place, agreeing.reference),
        loss_scale,
        scale,
    )


def _rigid(transform: Transform) -> pycolmap.Rigid3d:
    rotation = pycolmap.Rotation3d(transform.rotation.as_quat())
    return pycolmap.Rigid3d(rotation, transform.translation)

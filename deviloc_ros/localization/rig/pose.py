"""One pose of a base from the 2D-3D matches of all cameras on it, by generalized RANSAC-PnP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.config import PoseConfig, VerificationConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.covariance import CELLS, m_estimate_covariance
from deviloc_ros.localization.least_squares import minimise
from deviloc_ros.localization.pose import MIN_INLIER_RATIO, MIN_MATCHES, MIN_TRIALS
from deviloc_ros.localization.rig.matches import RigMatches

# Enough to find a pose that a sixth of the matches agrees with, nearly always.
GUIDE_TRIALS = 1000


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


def estimate_rig_poses(
    matches: RigMatches, config: PoseConfig, limits: VerificationConfig, seed: int
) -> list[RigHypothesis]:
    """Estimate the base's pose by LO-RANSAC over generalized P3P, then minimise all errors jointly.

    Matches of a camera that sees nothing of the map would drown the others', and samples of three
    right ones become rare. So every part is first looked at alone; the joint estimate takes those
    that agree on a pose of their own. (Whether they agree on one pose is not asked yet: the pose
    that one camera gives may be off by more than the threshold where another looks.) Where no part
    is strong alone, it takes all. Its samples may mix cameras.

    Args:
        matches: of all cameras; a part is what one camera shares with one cluster of references.
        config: thresholds, in working pixels.
        limits: fewest inliers of a pose, and least share of a part's that supports it.
        seed: of RANSAC's samples.

    Returns:
        The joint pose, then those of single parts, which may be of another place; nothing where
        RANSAC found none.
    """
    # Far from the map's origin the solver would lose digits.
    centre = np.median(matches.points3d, axis=0) if len(matches) else np.zeros(3)
    matches = matches.moved(-centre)
    alone = []
    strong = np.zeros(len(matches), dtype=np.bool_)
    for part in np.unique(matches.part):
        own = matches.part == part
        pose = rig_ransac(matches.select(own), config, seed, GUIDE_TRIALS)
        if pose is not None:
            alone.append(rig_agreement(matches, pose, config))
            strong |= own & matches.supporting(alone[-1].inliers & own, limits.min_inlier_ratio)
    most = max((hypothesis.num_inliers for hypothesis in alone), default=0)
    chosen = matches.select(strong) if most >= limits.min_inliers else matches
    pose = rig_ransac(chosen, config, seed, config.max_iterations)
    if pose is None:
        return []
    consensus = chosen.select(rig_agreement(chosen, pose, config).inliers)
    refined = refine_rig(consensus, pose, config.loss_scale)
    from_map = Transform(Rotation.identity(), -centre)
    return [
        RigHypothesis(hypothesis.base_from_map @ from_map, hypothesis.inliers)
        for hypothesis in (rig_agreement(matches, refined, config), *alone)
    ]


def rig_ransac(
    matches: RigMatches, config: PoseConfig, seed: int, max_trials: int
) -> Transform | None:
    """Return the pose of the base that most matches agree with, or None."""
    if len(matches) < MIN_MATCHES:
        return None
    options = pycolmap.RANSACOptions()
    options.max_error = config.max_reprojection_error
    options.confidence = config.confidence
    options.max_num_trials = max_trials
    options.min_num_trials = min(MIN_TRIALS, max_trials)
    options.min_inlier_ratio = MIN_INLIER_RATIO
    options.random_seed = seed
    answer = pycolmap.estimate_generalized_absolute_pose(
        matches.keypoints,
        matches.points3d,
        matches.owner.tolist(),
        [_rigid(base_from_camera.inverse()) for base_from_camera in matches.base_from_camera],
        [camera.colmap for camera in matches.cameras],
        options,
    )
    if answer is None:
        return None
    rigid = answer["rig_from_world"]
    return Transform(Rotation.from_quat(rigid.rotation.quat), rigid.translation)


def rig_agreement(
    matches: RigMatches, base_from_map: Transform, config: PoseConfig
) -> RigHypothesis:
    """Return a pose with the matches that agree with it."""
    error = np.linalg.norm(matches.residuals(base_from_map), axis=1)
    inliers = np.nan_to_num(error, nan=np.inf) < config.max_reprojection_error
    return RigHypothesis(base_from_map, inliers)


def refine_rig(matches: RigMatches, base_from_map: Transform, loss_scale: float) -> Transform:
    """Return the base's pose with the least sum of Cauchy losses near a first one."""
    # Within a refinement projections move by few pixels, over which the lens stays the same.
    lens = matches.lens(base_from_map)
    return minimise(base_from_map, lambda pose: matches.linearise(pose, lens), loss_scale)


def rig_agreeing(
    hypothesis: RigHypothesis, merged: RigMatches, matches: RigMatches
) -> NDArray[np.bool_]:
    """Return which matches (N,), not merged, are as near to a pose as the worst of its inliers.

    Args:
        hypothesis: the pose and its inliers.
        merged: what it was estimated from.
        matches: of all references.
    """
    pose = hypothesis.base_from_map
    errors = np.linalg.norm(merged.select(hypothesis.inliers).residuals(pose), axis=1)
    with np.errstate(invalid="ignore"):
        near = np.linalg.norm(matches.residuals(pose), axis=1) <= errors.max(initial=0.0)
    return np.asarray(near, dtype=np.bool_)


def rig_covariance(
    base_from_map: Transform, matches: RigMatches, loss_scale: float, scale: float
) -> NDArray[np.float64] | None:
    """Return the covariance (6, 6) of map_from_base, or None where the pose is not determined.

    As `pose_covariance`, with the derivatives by the base's shift and turn. Places in the images of
    different cameras are different groups; a reference seen by several is one.

    Args:
        base_from_map: the pose.
        matches: that agree with it, of all references, not merged.
        loss_scale: of the Cauchy loss in the refinement, working pixels.
        scale: factor on it, of the map.
    """
    residuals, derivative = matches.linearise(base_from_map, matches.lens(base_from_map))
    return m_estimate_covariance(
        derivative,
        residuals,
        matches.confidence,
        (matches.places(CELLS), matches.reference),
        loss_scale,
        scale,
    )


def _rigid(transform: Transform) -> pycolmap.Rigid3d:
    rotation = pycolmap.Rotation3d(transform.rotation.as_quat())
    return pycolmap.Rigid3d(rotation, transform.translation)

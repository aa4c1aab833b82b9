"""Whether a pose is believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import VerificationConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.pose import PoseHypothesis
from deviloc_ros.localization.types import Correspondences, FailureReason, PosePrior

GRID = 8
# Two poses are different places if they are this share of the scene's depth, or this angle, apart.
RIVAL_DISTANCE = 0.1
RIVAL_DEGREES = 5.0


def verify(
    best: PoseHypothesis,
    matches: Correspondences,
    rivals: list[PoseHypothesis],
    covariance: NDArray[np.float64] | None,
    camera: Camera,
    prior: PosePrior | None,
    metric: bool,
    config: VerificationConfig,
) -> tuple[FailureReason, str] | None:
    """Return the first reason not to believe a pose, with its numbers, or None to believe it.

    Args:
        best: the pose in question.
        matches: what it was estimated from.
        rivals: poses estimated from other clusters of references.
        covariance: (6, 6) of the pose, or None where it is not determined.
        camera: intrinsics of the query.
        prior: where the camera was thought to be.
        metric: whether the map is; limits in metres apply only then.
        config: the limits.
    """
    count, total = best.num_inliers, len(matches)
    if count < config.min_inliers:
        return FailureReason.TOO_FEW_INLIERS, f"{count} inliers, at least {config.min_inliers}"
    if count < config.min_inlier_ratio * total:
        limit = f"at least {config.min_inlier_ratio:.0%}"
        return FailureReason.LOW_INLIER_RATIO, f"{count} of {total} are inliers, {limit}"
    coverage = image_coverage(matches.keypoints[best.inliers], camera)
    if coverage < config.min_coverage:
        limit = f"at least {config.min_coverage:.0%}"
        return FailureReason.POOR_COVERAGE, f"inliers in {coverage:.0%} of the image, {limit}"
    for rival in rivals:
        if rival.num_inliers >= config.max_rival_ratio * count and _elsewhere(best, rival, matches):
            return FailureReason.AMBIGUOUS, f"{count} inliers here, {rival.num_inliers} elsewhere"
    if covariance is None:
        return FailureReason.UNCERTAIN, "the inliers do not determine the pose"
    sigma = float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3]).max()))
    if metric and sigma > config.max_position_sigma:
        limit = f"at most {config.max_position_sigma:.2f} m"
        return FailureReason.UNCERTAIN, f"position sigma {sigma:.2f} m, {limit}"
    if prior is not None:
        sigmas = _distance_from_prior(best, covariance, prior)
        if sigmas > config.prior_gate_sigmas:
            limit = f"at most {config.prior_gate_sigmas:.1f}"
            return FailureReason.AGAINST_PRIOR, f"{sigmas:.1f} sigmas from the prior, {limit}"
    return None


def image_coverage(keypoints: NDArray[np.float64], camera: Camera) -> float:
    """Return the share of the image's 8 x 8 cells that hold a keypoint (N, 2)."""
    cells = (keypoints / (camera.width, camera.height) * GRID).astype(np.int64).clip(0, GRID - 1)
    return len(np.unique(cells[:, 0] * GRID + cells[:, 1])) / GRID**2


def _elsewhere(best: PoseHypothesis, rival: PoseHypothesis, matches: Correspondences) -> bool:
    """Whether a rival is another place, and not the same one seen less well."""
    distance, degrees = best.camera_from_map.inverse().distance_to(rival.camera_from_map.inverse())
    depth = np.median(best.camera_from_map.apply(matches.points3d[best.inliers])[:, 2])
    return bool(distance > RIVAL_DISTANCE * depth or degrees > RIVAL_DEGREES)


def _distance_from_prior(
    best: PoseHypothesis, covariance: NDArray[np.float64], prior: PosePrior
) -> float:
    """Return the larger of the position's and the rotation's distance, in sigmas per axis."""
    pose = best.camera_from_map.inverse()
    shift = np.abs(pose.translation - prior.map_from_camera.translation)
    turn = np.abs((pose.rotation * prior.map_from_camera.rotation.inv()).as_rotvec())
    variance = np.diag(covariance)
    sigmas = np.concatenate(
        [
            shift / np.sqrt(variance[:3] + prior.position_sigma**2),
            turn / np.sqrt(variance[3:] + prior.rotation_sigma**2),
        ]
    )
    return float(sigmas.max())

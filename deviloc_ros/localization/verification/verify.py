"""Whether a pose is believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig, PoseConfig, VerificationConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.attempt import ClusterPose
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.pose import PoseHypothesis
from deviloc_ros.localization.types import FailureReason, PosePrior
from deviloc_ros.localization.verification.evidence import (
    PATCH,
    Agreement,
    log10_false_alarms,
    log10_false_alarms_of_pixels,
    pieces_of,
)
from deviloc_ros.localization.verification.second_pose import (
    SecondPose,
    camera_agreement,
    second_camera_pose,
)

GRID = 8
# Two poses are different places if they are this share of the scene's depth, or this angle, apart.
RIVAL_DISTANCE = 0.1
RIVAL_DEGREES = 5.0
# A second place is as good as the first if the logarithm of its false alarms is this share of the
# first one's: pieces that come in pairs halve it, and some of a row of copies lie out of the image.
COMPARABLE = 0.4
# No false pose agrees with so large a share of the matches that no pose has guided
# (docs/accuracy.md). Small images have too few pieces to say as much.
MAJORITY = 0.5


@dataclass(frozen=True)
class Evidence:
    """What speaks for the pose of a body: of a camera, or of a base with cameras on it.

    Attributes:
        map_from_body: the pose in question.
        covariance: (6, 6) of it, or None where it is not determined.
        num_inliers: matches that agree with it.
        num_matches: matches that could have.
        coverage: share of the image's cells with inliers; several images add up.
        depth: median distance of the inliers in front of their cameras, map units.
        rivals: other poses map_from_body, and the number of matches that agree with each.
        agreement: how well matches agree with it, not merged, that no pose has guided.
        pixels: see `log10_false_alarms_of_pixels`; 0 where matches are not aligned.
        second: finds the pose that most of those matches agree with which do not agree with this
            one; only called if all else speaks for the pose.
    """

    map_from_body: Transform
    covariance: NDArray[np.float64] | None
    num_inliers: int
    num_matches: int
    coverage: float
    depth: float
    rivals: Sequence[tuple[Transform, int]]
    agreement: Agreement
    pixels: float
    second: Callable[[], SecondPose | None]


def verify(
    pose: PoseHypothesis,
    cluster: ClusterPose,
    rivals: Sequence[ClusterPose],
    aligned: AlignedMatches | None,
    covariance: NDArray[np.float64] | None,
    camera: Camera,
    prior: PosePrior | None,
    metric: bool,
    config: LocalizerConfig,
) -> tuple[FailureReason, str] | None:
    """Return the first reason not to believe a camera's pose, or None; see `judge`.

    Args:
        pose: the pose in question.
        cluster: what it was estimated from.
        rivals: what other clusters of references gave.
        aligned: the matches that the pose rests on; None: those of the cluster.
        covariance: (6, 6) of the pose, or None where it is not determined.
        camera: intrinsics of the query.
        prior: where the camera was thought to be.
        metric: whether the map is; limits in metres apply only then.
        config: the limits, and how a second pose is looked for.
    """
    matches, limits = cluster.merged, config.verification
    in_camera = pose.camera_from_map.apply(matches.points3d[pose.inliers])
    scale = camera.reduction_to(config.features.max_size)

    evident = cluster.unmerged.select(cluster.unmerged.free)
    agreement = camera_agreement(pose.camera_from_map, evident, camera, config.pose, scale)

    def second() -> SecondPose | None:
        max_vote = float(np.log10(limits.max_rival_chance))
        return second_camera_pose(agreement, evident, camera, config.pose, max_vote, config.seed)

    evidence = Evidence(
        map_from_body=pose.camera_from_map.inverse(),
        covariance=covariance,
        num_inliers=pose.num_inliers,
        num_matches=len(matches),
        coverage=image_coverage(matches.keypoints[pose.inliers], camera),
        depth=float(np.median(in_camera[:, 2])) if len(in_camera) else 0.0,
        rivals=[(r.pose.camera_from_map.inverse(), r.pose.num_inliers) for r in rivals],
        agreement=agreement,
        pixels=_pixels(pose, aligned, camera, config.pose, scale),
        second=second,
    )
    return judge(evidence, prior, metric, limits)


def _pixels(
    pose: PoseHypothesis,
    aligned: AlignedMatches | None,
    camera: Camera,
    config: PoseConfig,
    pixel_scale: float,
) -> float:
    """Return how many poses chance would give that agree as well in the pixels, log10."""
    if aligned is None:
        return 0.0
    # Guided matches lie near the pose because they were searched there, right or wrong.
    found = aligned.matches.select(aligned.found & aligned.matches.free)
    agreement = camera_agreement(pose.camera_from_map, found, camera, config, pixel_scale)
    patches = pieces_of(found.keypoints, pixel_scale, PATCH)
    return log10_false_alarms_of_pixels(replace(agreement, pieces=patches))


def judge(
    evidence: Evidence, prior: PosePrior | None, metric: bool, config: VerificationConfig
) -> tuple[FailureReason, str] | None:
    """Return the first reason not to believe a pose, with its numbers, or None to believe it.

    Args:
        evidence: what speaks for it.
        prior: where the body was thought to be.
        metric: whether the map is; limits in metres apply only then.
        config: the limits.
    """
    count, total = evidence.num_inliers, evidence.num_matches
    if count < config.min_inliers:
        return FailureReason.TOO_FEW_INLIERS, f"{count} inliers, at least {config.min_inliers}"
    if count < config.min_inlier_ratio * total:
        limit = f"at least {config.min_inlier_ratio:.0%}"
        return FailureReason.LOW_INLIER_RATIO, f"{count} of {total} are inliers, {limit}"
    if evidence.coverage < config.min_coverage:
        limit = f"at least {config.min_coverage:.0%}"
        details = f"inliers in {evidence.coverage:.0%} of the image, {limit}"
        return FailureReason.POOR_COVERAGE, details
    alarms, most = log10_false_alarms(evidence.agreement), config.max_log10_false_alarms
    # Pieces may come in pairs, which halves the exponent; patches have no pixels in common.
    by_chance = alarms > most and evidence.pixels > most / 2
    if by_chance and not _majority(evidence.agreement, config.min_inliers):
        agreeing, pieces = evidence.agreement.num_pieces
        details = (
            f"{agreeing} of {pieces} pieces of the image agree: 1e{alarms:.1f} such poses by "
            f"chance, at most 1e{most:.1f}; 1e{evidence.pixels:.1f} by pixels, 1e{most / 2:.1f}"
        )
        return FailureReason.CHANCE, details
    for map_from_body, support in evidence.rivals:
        if support >= config.max_rival_ratio * count and _elsewhere(evidence, map_from_body):
            return FailureReason.AMBIGUOUS, f"{count} inliers here, {support} elsewhere"
    return _uncertainty(evidence, prior, metric, config) or _second_place(evidence, prior, config)


def _majority(free: Agreement, min_inliers: int) -> bool:
    """Whether most matches agree, and as many as a pose needs at least."""
    return free.share >= MAJORITY and free.num_agreeing >= min_inliers


def _uncertainty(
    evidence: Evidence, prior: PosePrior | None, metric: bool, config: VerificationConfig
) -> tuple[FailureReason, str] | None:
    """Return what is wrong with a pose given its covariance, or None."""
    covariance = evidence.covariance
    if covariance is None:
        return FailureReason.UNCERTAIN, "the inliers do not determine the pose"
    sigma = float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3]).max()))
    if metric and sigma > config.max_position_sigma:
        limit = f"at most {config.max_position_sigma:.2f} m"
        return FailureReason.UNCERTAIN, f"position sigma {sigma:.2f} m, {limit}"
    if prior is not None:
        sigmas = _distance_from_prior(evidence.map_from_body, covariance, prior)
        if sigmas > config.prior_gate_sigmas:
            limit = f"at most {config.prior_gate_sigmas:.1f}"
            return FailureReason.AGAINST_PRIOR, f"{sigmas:.1f} sigmas from the prior, {limit}"
    return None


def _second_place(
    evidence: Evidence, prior: PosePrior | None, config: VerificationConfig
) -> tuple[FailureReason, str] | None:
    """Return the place that explains the same references' matches nearly as well, or None."""
    second = evidence.second()
    if second is None:
        return None
    best = min(second.best_false_alarms, config.max_log10_false_alarms)
    if second.false_alarms > COMPARABLE * best:
        return None
    if 10**second.vote <= config.max_rival_chance:
        return None
    if not _elsewhere(evidence, second.map_from_body):
        return None
    if prior is not None and evidence.covariance is not None:
        sigmas = _distance_from_prior(second.map_from_body, evidence.covariance, prior)
        if sigmas > config.prior_gate_sigmas:
            return None
    distance, _ = evidence.map_from_body.distance_to(second.map_from_body)
    here, there = evidence.num_inliers, second.num_inliers
    details = (
        f"{here} inliers, {there} of the same references {distance:.1f} away: as clear by chance "
        f"with probability {10**second.vote:.2g}, at most {config.max_rival_chance:.2g}"
    )
    return FailureReason.AMBIGUOUS, details


def image_coverage(keypoints: NDArray[np.float64], camera: Camera) -> float:
    """Return the share of the image's 8 x 8 cells that hold a keypoint (N, 2)."""
    cells = (keypoints / (camera.width, camera.height) * GRID).astype(np.int64).clip(0, GRID - 1)
    return len(np.unique(cells[:, 0] * GRID + cells[:, 1])) / GRID**2


def _elsewhere(evidence: Evidence, rival: Transform) -> bool:
    """Whether a rival is another place, and not the same one seen less well."""
    distance, degrees = evidence.map_from_body.distance_to(rival)
    return bool(distance > RIVAL_DISTANCE * evidence.depth or degrees > RIVAL_DEGREES)


def _distance_from_prior(
    pose: Transform, covariance: NDArray[np.float64], prior: PosePrior
) -> float:
    """Return the larger of the position's and the rotation's distance, in sigmas per axis."""
    shift = np.abs(pose.translation - prior.map_from_body.translation)
    turn = np.abs((pose.rotation * prior.map_from_body.rotation.inv()).as_rotvec())
    variance = np.diag(covariance)
    sigmas = np.concatenate(
        [
            shift / np.sqrt(variance[:3] + prior.axis_sigmas**2),
            turn / np.sqrt(variance[3:] + prior.rotation_sigma**2),
        ]
    )
    return float(sigmas.max())

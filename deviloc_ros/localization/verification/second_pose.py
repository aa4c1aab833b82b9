"""The pose that speaks most against one: found among the matches that do not agree with it.

Where a facade looks the same one window further on, some matches of one and the same cluster of
references agree with the true pose and others with a pose shifted by a window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import PoseConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.pose import MIN_MATCHES, estimate_pose
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.localization.verification.evidence import (
    Agreement,
    log10_fair_vote,
    log10_false_alarms,
    pieces_of,
)

# Matches this near to the first pose, in thresholds, are its own, if inaccurate.
OWN = 2.0
# A second pose is looked for that has this share of the first one's matches.
SUPPORT = 0.5
# It is missed once in so many times.
MISSED = 1e-3
MAX_TRIALS = 1000
MAX_MATCHES = 500


@dataclass(frozen=True)
class SecondPose:
    """A pose beside the best one.

    Attributes:
        map_from_body: the pose.
        num_inliers: matches that agree with it and not better with the best one.
        false_alarms: see `log10_false_alarms`.
        best_false_alarms: the same of the best pose.
        vote: see `log10_fair_vote`, of the best pose against this one.
    """

    map_from_body: Transform
    num_inliers: int
    false_alarms: float
    best_false_alarms: float
    vote: float


def second_pose(
    best: Agreement,
    max_vote: float,
    solve: Callable[[NDArray[np.int64], int], Transform | None],
    errors_of: Callable[[Transform], NDArray[np.float64]],
) -> SecondPose | None:
    """Return the pose that most of the other matches agree with, or None where there is none.

    Args:
        best: how matches, not merged, agree with the best pose.
        max_vote: a pose that loses the vote by this much, if all others agreed with it, is not
            looked for.
        solve: indices of matches and number of trials to a pose map_from_body.
        errors_of: such a pose to errors (N,) of all matches.
    """
    others = np.flatnonzero(~(best.errors < OWN * best.threshold))
    support = SUPPORT * np.count_nonzero(best.errors < best.threshold)
    if len(others) < max(support, MIN_MATCHES):
        return None
    at_most = np.full(len(best.errors), np.inf)
    at_most[others] = 0.0
    if log10_fair_vote(best, at_most) <= max_vote:
        return None
    share = max(support, 1.0) / len(others)
    trials = np.log(MISSED) / np.log1p(-min(share**3, 1 - MISSED))
    taken = np.linspace(0, len(others) - 1, min(len(others), MAX_MATCHES)).round().astype(np.int64)
    pose = solve(others[taken], int(np.ceil(min(trials, MAX_TRIALS))))
    if pose is None:
        return None
    errors = errors_of(pose)
    return SecondPose(
        pose,
        int(np.count_nonzero((errors < best.threshold) & ~(best.errors <= errors))),
        log10_false_alarms(Agreement(errors, best.pieces, best.areas, best.threshold)),
        log10_false_alarms(best),
        log10_fair_vote(best, errors),
    )


def camera_agreement(
    camera_from_map: Transform,
    matches: Correspondences,
    camera: Camera,
    config: PoseConfig,
    pixel_scale: float,
) -> Agreement:
    """Return how well matches agree with a camera's pose.

    Args:
        camera_from_map: the pose.
        matches: 2D-3D matches.
        camera: intrinsics of the query.
        config: of the threshold.
        pixel_scale: query pixels per pixel of the working size.
    """
    return Agreement(
        _errors(camera_from_map, matches, camera),
        pieces_of(matches.keypoints, pixel_scale),
        np.full(len(matches), float(camera.width * camera.height)),
        config.max_reprojection_error * pixel_scale,
    )


def second_camera_pose(
    best: Agreement,
    matches: Correspondences,
    camera: Camera,
    config: PoseConfig,
    max_vote: float,
    seed: int,
) -> SecondPose | None:
    """Return the second pose of a camera; see `second_pose`.

    Args:
        best: how the matches agree with the best pose.
        matches: of the cluster that gave it, not merged.
        camera: intrinsics of the query.
        config: of the search.
        max_vote: see `second_pose`.
        seed: of RANSAC's samples.
    """
    scale = best.threshold / config.max_reprojection_error

    def solve(chosen: NDArray[np.int64], trials: int) -> Transform | None:
        limited = config.model_copy(update={"max_iterations": trials, "confidence": 1 - MISSED})
        found = estimate_pose(matches.select(chosen), camera, limited, scale, seed)
        return None if found is None else found.camera_from_map.inverse()

    def errors_of(map_from_camera: Transform) -> NDArray[np.float64]:
        return _errors(map_from_camera.inverse(), matches, camera)

    return second_pose(best, max_vote, solve, errors_of)


def _errors(
    camera_from_map: Transform, matches: Correspondences, camera: Camera
) -> NDArray[np.float64]:
    """Return reprojection errors (N,), pixels; NaN behind the camera."""
    projected = camera.project(camera_from_map.apply(matches.points3d))
    return np.asarray(np.linalg.norm(projected - matches.keypoints, axis=1))

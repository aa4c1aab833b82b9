"""When a result leaves so much doubt that the query is matched again, with context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from deviloc_ros.localization.matching.matcher import Matcher
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.localization.types import FailureReason, LocalizationFailure, PoseEstimate, Way

# Right poses have at least so many inliers, and so large a share of the matches, also where
# darkness, fog or blur is laid over the images (docs/accuracy.md); false ones stay far below.
CONVINCING_INLIERS = 100
CONVINCING_SHARE = 0.3
# What other matches can mend: the rest lies in the image, the map or the prior.
# AMBIGUOUS is not among them: guided matching looks only near one of the places that look alike,
# and so would always agree with it.
MENDABLE = {
    FailureReason.TOO_FEW_MATCHES,
    FailureReason.NO_POSE,
    FailureReason.TOO_FEW_INLIERS,
    FailureReason.LOW_INLIER_RATIO,
    FailureReason.POOR_COVERAGE,
    FailureReason.CHANCE,
    FailureReason.UNCERTAIN,
}

Result = TypeVar("Result", PoseEstimate | LocalizationFailure, RigEstimate | LocalizationFailure)


def escalate(
    ways: Sequence[tuple[Way, Matcher]], localize: Callable[[Way, Matcher], Result]
) -> Result:
    """Localize by one way of matching after the other until a result leaves no doubt.

    Args:
        ways: of matching, the quickest first.
        localize: by one of them.
    """
    results: list[Result] = []
    for way, match in ways:
        results.append(localize(way, match))
        if not in_doubt(results[-1]):
            break
    return most_believable(results)


def in_doubt(result: PoseEstimate | RigEstimate | LocalizationFailure) -> bool:
    """Return whether better matches could change a result: a failure, or a weak pose."""
    if isinstance(result, LocalizationFailure):
        return result.reason in MENDABLE
    share = result.num_inliers / max(result.num_matches, 1)
    return result.num_inliers < CONVINCING_INLIERS or share < CONVINCING_SHARE


def most_believable(results: Sequence[Result]) -> Result:
    """Return the last pose that was verified; without one, the failure that came nearest to it."""
    poses = [result for result in results if not isinstance(result, LocalizationFailure)]
    if poses:
        return poses[-1]
    failures = [result for result in results if isinstance(result, LocalizationFailure)]
    nearest = max(failures, key=lambda failure: failure.num_inliers)
    return replace(nearest, way=failures[-1].way, stage_seconds=failures[-1].stage_seconds)

"""What was found on the way to one image's pose, and the failure it may become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deviloc_ros.localization.pose import MIN_MATCHES, PoseHypothesis
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    LocalizationFailure,
    Way,
)


@dataclass(frozen=True)
class ClusterPose:
    """The pose that the references of one cluster give.

    Attributes:
        pose: the pose.
        merged: the matches that it was estimated from.
        unmerged: the same before merging.
    """

    pose: PoseHypothesis
    merged: Correspondences
    unmerged: Correspondences


class Attempt:
    """Collects the poses of clusters, the one with most inliers first."""

    def __init__(
        self, clock: StageClock, way: Way = Way.FAST, references: Sequence[str] = ()
    ) -> None:
        """Begin with nothing; the clock is read when the attempt ends."""
        self.clock = clock
        self.way = way
        self.references = references
        self._num_matches = 0
        self.hypotheses: list[ClusterPose] = []

    def add(
        self, unmerged: Correspondences, merged: Correspondences, pose: PoseHypothesis | None
    ) -> None:
        """Add what a cluster gave."""
        self._num_matches = max(self._num_matches, len(merged))
        if pose is not None:
            self.hypotheses.append(ClusterPose(pose, merged, unmerged))
            # Stable: of equals, the cluster that retrieval put first.
            self.hypotheses.sort(key=lambda item: -item.pose.num_inliers)

    def without_pose(self) -> LocalizationFailure:
        """Return why no cluster gave a pose."""
        few = self._num_matches < MIN_MATCHES
        reason = FailureReason.TOO_FEW_MATCHES if few else FailureReason.NO_POSE
        return self.failed(reason, f"{self._num_matches} matches")

    def failed(self, reason: FailureReason, details: str) -> LocalizationFailure:
        """Return the failure, with what the best hypothesis rests on."""
        matches, inliers = self._num_matches, 0
        if self.hypotheses:
            best = self.hypotheses[0]
            matches, inliers = len(best.merged), best.pose.num_inliers
        return LocalizationFailure(
            reason,
            details,
            self.clock.seconds,
            matches,
            inliers,
            tuple(self.references),
            self.way,
        )

"""Matching with context: few certain matches by attention, then many by where geometry puts them.

What is alike in many places by night (or in snow) defeats nearest neighbours, though the features
are good enough: attention over both images tells them apart. Its matches are few. They give a first
pose; near where that pose and the depths of the references put it, each feature is matched again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import repeat
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.localization.context.search import ContextSearch
from deviloc_ros.localization.matching.matcher import Refiner
from deviloc_ros.localization.pose import PoseHypothesis
from deviloc_ros.localization.solver import PoseSolver
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Query, concatenated

PairsT = TypeVar("PairsT")

# Attention's matches that must agree with a first pose before it guides anything.
MIN_GUIDES = 15
# Attention begins with so many references of a cluster, and is done if so many matches agree.
NUM_FIRST = 2
ENOUGH_GUIDES = 100
# By how much the pose may still shift the image, pixels of the working size, round by round. The
# last windows are still many times as large as what counts as agreement (pose.py): else matches
# would agree with a false pose only because they were looked for where it put them.
RADII = (24.0, 16.0)
# Share of guided matches that must agree with the pose they give. Chance leaves a seventh (the
# squared ratio of threshold and window), false poses up to 0.3; right ones by night or in the
# evening 0.35 and more (docs/accuracy.md, "Real change of light").
MIN_CONFIRMED = 1 / 3
# Of the fine offsets: by night they are right as often where the network is unsure of them.
MIN_FINE_CONFIDENCE = 0.0


class ContextMatcher(Generic[PairsT]):
    """Matches as SemiDenseMatcher does, slower, where that finds too little."""

    unusable = np.zeros(0, dtype=np.int64)

    def __init__(
        self,
        search: ContextSearch[PairsT],
        refiner: Refiner[PairsT],
        solver: PoseSolver,
    ) -> None:
        """Use the parts of a backend.

        Args:
            search: finds coarse matches.
            refiner: refines and lifts them.
            solver: makes the poses that guide.
        """
        self._search = search
        self._refiner = refiner
        self._solver = solver

    def __call__(
        self, query: Query, clusters: Sequence[NDArray[np.int64]], clock: StageClock
    ) -> Correspondences:
        """Match a query to references; see Matcher."""
        with clock("attend"):
            certain = [self._attended(query, cluster) for cluster in clusters]
        with clock("guide"):
            guided = map(self._guided, repeat(query), clusters, certain)
            return concatenated(list(guided))

    def warm_up(self) -> None:
        """Load nothing: references are prepared when they are first used."""

    def _attended(self, query: Query, cluster: NDArray[np.int64]) -> Correspondences:
        """Match with the references of a cluster that are most like the query, then with others.

        Attention costs most of the time, and all references are matched again near the pose. So
        the others are left out where the first ones give a pose that leaves no doubt.
        """
        most_like, others = cluster[:NUM_FIRST], cluster[NUM_FIRST:]
        first = self._matched(query, most_like, self._search.attended(query, most_like))
        if not len(others):
            return first
        pose = self._pose(first, query, 0.0)
        if pose is not None and pose.num_inliers >= ENOUGH_GUIDES:
            return first
        pairs = self._search.attended(query, others)
        return concatenated([first, self._matched(query, others, pairs)])

    def _guided(
        self, query: Query, cluster: NDArray[np.int64], first: Correspondences
    ) -> Correspondences:
        """Match again with the references of a cluster, if they give a pose to go by.

        Where they do not, or what is found does not confirm it, there are no matches: those of
        attention are too few to tell chance from evidence. The matches that gave the first pose
        come first: they alone are evidence for it.
        """
        nothing = first.select(np.zeros(0, dtype=np.int64))
        matches = guides = first
        needed = 0.0
        for radius in RADII:
            pose = self._pose(guides, query, needed)
            if pose is None:
                return nothing
            pairs = self._search.near(query, cluster, pose.camera_from_map, radius)
            guides, needed = self._matched(query, cluster, pairs), MIN_CONFIRMED
            again = replace(guides, guided=np.ones(len(guides), dtype=np.bool_))
            matches = concatenated([first, again.select(~_same(again, first))])
        return nothing if self._pose(guides, query, needed) is None else matches

    def _pose(
        self, matches: Correspondences, query: Query, min_share: float
    ) -> PoseHypothesis | None:
        """Return the pose that matches give, or None where too few agree with it."""
        merged = self._solver.aggregate(matches, query.camera)
        pose = self._solver.estimate_pose(merged, query.camera)
        if pose is None or pose.num_inliers < max(MIN_GUIDES, min_share * len(merged)):
            return None
        return pose

    def _matched(
        self, query: Query, references: NDArray[np.int64], pairs: PairsT
    ) -> Correspondences:
        """Refine pairs and look their 3D points up."""
        return self._refiner.corresponding(query, references, pairs, MIN_FINE_CONFIDENCE)


def _same(matches: Correspondences, others: Correspondences) -> NDArray[np.bool_]:
    """Return which matches (N,) others are equal to."""
    rows = [
        np.ascontiguousarray(np.column_stack([m.reference, m.reference_keypoints, m.keypoints]))
        for m in (matches, others)
    ]
    record = np.dtype((np.void, rows[0].dtype.itemsize * rows[0].shape[1]))
    first, second = (part.view(record).ravel() for part in rows)
    return np.isin(first, second)

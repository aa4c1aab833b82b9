"""Matching with context: few certain matches by attention, then many by where geometry puts them.

What is alike in many places by night (or in snow) defeats nearest neighbours, though the features
are good enough: attention over both images tells them apart. Its matches are few. They give a first
pose; near where that pose and the depths of the references put it, each feature is matched again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.context.attention import AttentionFeatures, AttentionMatcher
from deviloc_ros.localization.context.guided import guided_nearest_neighbours, unit_codes
from deviloc_ros.localization.context.windows import pose_windows
from deviloc_ros.localization.matching import SemiDenseMatcher
from deviloc_ros.localization.mutual_nearest_neighbours import Pairs
from deviloc_ros.localization.pose import PoseHypothesis
from deviloc_ros.localization.solver import PoseSolver
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Query, concatenated
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map

# Attention's matches that must agree with a first pose before it guides anything.
MIN_GUIDES = 15
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


@dataclass(frozen=True)
class ContextReference:
    """What matching with context needs of a reference.

    Attributes:
        features: what attention sees.
        codes: (M, D) int8, all its descriptors, for guided matching.
        points: (M, 3) float64, the features' 3D points, map frame.
        depth_sigma: (M,) float64, see Map; None where the map does not tell.
    """

    features: AttentionFeatures
    codes: NDArray[np.int8]
    points: NDArray[np.float64]
    depth_sigma: NDArray[np.float64] | None


class ContextMatcher:
    """Matches as SemiDenseMatcher does, slower, where that finds too little."""

    unusable = np.zeros(0, dtype=np.int64)

    def __init__(
        self,
        reference_map: Map,
        config: LocalizerConfig,
        device: torch.device,
        semi_dense: SemiDenseMatcher,
        solver: PoseSolver,
    ) -> None:
        """Load the network; references are prepared when first used.

        Args:
            reference_map: any map for matcher xfeat.
            config: the configuration.
            device: of the features.
            semi_dense: refines and lifts the matches.
            solver: makes the poses that guide.

        Raises:
            InputError: the weights are missing.
        """
        self._map = reference_map
        self._max_size = config.features.max_size
        self._attention = AttentionMatcher(config, device)
        self._device = device
        self._semi_dense = semi_dense
        self._solver = solver
        self._references: LRUCache[int, ContextReference] = LRUCache(
            config.matching.cached_references
        )

    def __call__(
        self, query: Query, clusters: Sequence[NDArray[np.int64]], clock: StageClock
    ) -> Correspondences:
        """Match a query to references; see Matcher."""
        references = np.concatenate(clusters)
        with clock("attend"):
            certain = self._matched(query, references, self._attended(query, references))
        with clock("guide"):
            return concatenated([self._guided(query, cluster, certain) for cluster in clusters])

    def _attended(self, query: Query, references: NDArray[np.int64]) -> list[Pairs]:
        features, camera = query.features, query.camera
        chosen = self._attention.choose(
            features.keypoints, features.descriptors, features.levels,
            (camera.width, camera.height),
        )  # fmt: skip
        stored = [self._reference(int(index)).features for index in references]
        return self._attention.match(chosen, stored)

    def _guided(
        self, query: Query, cluster: NDArray[np.int64], certain: Correspondences
    ) -> Correspondences:
        """Match again with the references of a cluster, if they give a pose to go by.

        Where they do not, or what is found does not confirm it, there are no matches: those of
        attention are too few to tell chance from evidence. The matches that gave the first pose
        come first: they alone are evidence for it.
        """
        first = certain.select(np.isin(certain.reference, cluster))
        nothing = first.select(np.zeros(0, dtype=np.int64))
        matches = guides = first
        needed = 0.0
        for radius in RADII:
            pose = self._pose(guides, query, needed)
            if pose is None:
                return nothing
            pairs = self._near(query, cluster, pose.camera_from_map, radius)
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

    def _near(
        self, query: Query, cluster: NDArray[np.int64], camera_from_map: Transform, radius: float
    ) -> list[Pairs]:
        """Match the query's features near where a pose puts those of references."""
        keypoints = query.features.keypoints.cpu().numpy().astype(np.float64)
        codes = unit_codes(query.features.descriptors)
        scale = query.camera.reduction_to(self._max_size)
        result = []
        for index in cluster:
            reference = self._reference(int(index))
            windows = pose_windows(
                query.camera, camera_from_map, self._map.references[index], reference.points,
                reference.depth_sigma, radius, scale,
            )  # fmt: skip
            found = guided_nearest_neighbours(keypoints, codes, reference.codes, windows)
            of_query, of_reference = (torch.from_numpy(part).to(self._device) for part in found)
            result.append((of_query, of_reference))
        return result

    def _matched(
        self, query: Query, references: NDArray[np.int64], pairs: Sequence[Pairs]
    ) -> Correspondences:
        """Refine pairs and look their 3D points up."""
        features = self._semi_dense.without_pull(query)
        matches = self._semi_dense.refine(features, references, pairs, MIN_FINE_CONFIDENCE)
        return self._semi_dense.lift(matches)

    def _reference(self, index: int) -> ContextReference:
        """Return what is needed of a reference: from memory, or made from the map now."""
        if index not in self._references:
            rows, camera = self._map.features_of(index), self._map.references[index].camera
            descriptors = torch.from_numpy(decoded(self._map.descriptors[rows])).float()
            keypoints = torch.from_numpy(np.array(self._map.keypoints[rows]))
            levels = torch.from_numpy(np.array(self._map.levels[rows]))
            sigma = self._map.depth_sigma
            self._references[index] = ContextReference(
                self._attention.choose(
                    keypoints.to(self._device), descriptors.to(self._device),
                    levels.to(self._device), (camera.width, camera.height),
                ),
                unit_codes(descriptors),
                np.asarray(self._map.feature_points[rows], dtype=np.float64) + self._map.origin,
                None if sigma is None else np.asarray(sigma[rows], dtype=np.float64),
            )  # fmt: skip
        return self._references[index]


def _same(matches: Correspondences, others: Correspondences) -> NDArray[np.bool_]:
    """Return which matches (N,) others are equal to."""
    rows = [
        np.ascontiguousarray(np.column_stack([m.reference, m.reference_keypoints, m.keypoints]))
        for m in (matches, others)
    ]
    record = np.dtype((np.void, rows[0].dtype.itemsize * rows[0].shape[1]))
    first, second = (part.view(record).ravel() for part in rows)
    return np.isin(first, second)

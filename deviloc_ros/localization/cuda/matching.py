"""XFeat*'s matching on a CUDA device: all references of all queries at once, one download.

Of a map that is on the device as a whole, the host need not know which references were chosen: they
come with the matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.cuda.places import LIFTED_SIZE, num_places
from deviloc_ros.localization.cuda.retrieval import Clusters, PendingClusters
from deviloc_ros.localization.cuda.semi_dense import (
    FEATURE,
    FINE_CONFIDENCE,
    FOUND,
    PACKED_SIZE,
    PLACE,
    QUERY_KEYPOINT,
    PaddedPairs,
    SemiDense,
)
from deviloc_ros.localization.cuda.stored_references import (
    CONFIDENCE,
    DEPTH_SIGMA,
    KEYPOINT,
    POINT,
    StoredReferences,
)
from deviloc_ros.localization.matching.matcher import SemiDenseMatches
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Features, Query
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import Recorded, upload

# Similarities of features that exist at once: 1 GiB of float32.
MAX_SIMILARITIES = 1 << 28
CAMERAS_KEPT = 16


class CudaMatcher:
    """Does what SemiDenseMatcher does; the 3D points come with the matches."""

    unusable = np.zeros(0, dtype=np.int64)

    def __init__(self, reference_map: Map, config: LocalizerConfig, device: torch.device) -> None:
        """Load the fine matcher, and make room for the references.

        Raises:
            InputError: the weights are missing, or `cuda.memory_mb` is too small.
        """
        self._map = reference_map
        self._device = device
        self._fine_confidence = config.matching.fine_confidence
        self._halves: LRUCache[tuple[int, int], Tensor] = LRUCache(CAMERAS_KEPT)
        self.stored = StoredReferences(
            reference_map,
            device,
            num_places(reference_map, config),
            config.aggregation.min_confidence,
        )
        self._compute = SemiDense(self.stored, reference_map.calibration, config)
        self._matched = Recorded(self._compute.of_query, config.cuda.graphs, device)

    def __call__(self, query: Query, clusters: Clusters, clock: StageClock) -> Correspondences:
        """Match a query to references and look the 3D points up; see Matcher."""
        with clock("match"), torch.inference_mode():
            if self.goes_on_with(clusters):
                packed = self._packed(query, clusters.chosen)
                references, packed = in_clusters(clusters, packed)
            else:
                references = np.concatenate(clusters)
                packed = self._packed(query, references)
            return self._lifted(references, self._kept(packed, self._fine_confidence))

    def match(self, query: Features, references: NDArray[np.int64]) -> SemiDenseMatches:
        """Match features of a query to references of the map; see SemiDenseMatcher."""
        with torch.inference_mode():
            asked = self._compute.asked(
                query.keypoints, query.descriptors, query.scales, query.levels, None
            )
            refined = [
                self._compute.refined(asked, places, self._compute.coarse(asked, places))
                for places in self._places(references, len(query))
            ]
        row, found = self._kept(downloaded(refined), self._fine_confidence)
        of_reference = references[row]
        return SemiDenseMatches(
            found[:, QUERY_KEYPOINT].astype(np.float64),
            of_reference,
            found[:, FEATURE].astype(np.int64) + self._map.feature_offsets[of_reference],
        )

    def corresponding(
        self,
        query: Query,
        references: NDArray[np.int64],
        pairs: PaddedPairs,
        min_confidence: float,
    ) -> Correspondences:
        """Refine coarse matches and look their 3D points up; see SemiDenseMatcher.

        Args:
            query: the image and its features.
            references: indices (K,).
            pairs: of each.
            min_confidence: of the fine offsets.
        """
        features, at_once = query.features, self.stored.places
        refined = []
        with torch.inference_mode():
            asked = self._compute.asked(
                features.keypoints, features.descriptors, features.scales, features.levels,
                self._half(query.camera),
            )  # fmt: skip
            for first in range(0, len(references), at_once):
                part = slice(first, first + at_once)
                places = self.stored.places_of(references[part])
                certain = self._compute.most_similar(asked, places, pairs.select(part))
                refined.append(self._compute.refined(asked, places, certain))
        return self._lifted(references, self._kept(downloaded(refined), min_confidence))

    def goes_on_with(self, clusters: Clusters) -> TypeGuard[PendingClusters]:
        """Return whether clusters are matched with before the host knows them."""
        pending = isinstance(clusters, PendingClusters) and clusters.pending
        return pending and self.stored.whole_map

    def warm_up(self) -> None:
        """Upload the references; those of a map of tiles come when they are used."""
        if type(self._map) is Map:
            self.stored.preload()

    def _packed(self, query: Query, references: NDArray[np.int64] | Tensor) -> NDArray[np.float32]:
        """Download the columns of all matches, (K, n, 13), with references or places, (K,)."""
        features, half = query.features, self._half(query.camera)
        refined = [
            self._matched(
                features.keypoints, features.descriptors, features.scales, features.levels, half,
                places,
            )[0]
            for places in self._places(references, len(features))
        ]  # fmt: skip
        return downloaded(refined)

    def _places(
        self, references: NDArray[np.int64] | Tensor, num_features: int
    ) -> Iterator[Tensor]:
        """Yield places, as many as are matched at once with a query of so many features."""
        at_once = self._at_once(num_features, references)
        if isinstance(references, Tensor):
            yield from torch.split(references, at_once)
            return
        for first in range(0, len(references), at_once):
            yield self.stored.places_of(references[first : first + at_once])

    def _at_once(self, num_features: int, references: NDArray[np.int64] | Tensor) -> int:
        """Return with how many references, or places, so many features are compared at once."""
        size = max(1, num_features * self.stored.padded_length)
        fitting = max(1, MAX_SIMILARITIES // size)
        # References that are not there yet need a place each.
        return fitting if isinstance(references, Tensor) else min(self.stored.places, fitting)

    def _kept(
        self, packed: NDArray[np.float32], min_confidence: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the matches that were found and are sure enough.

        Args:
            packed: (K, n, 13), columns of all.
            min_confidence: of the fine offsets.

        Returns:
            Which of the K references each is with, (N,), and its columns, (N, 13).
        """
        kept = (packed[..., FOUND] > 0) & (packed[..., FINE_CONFIDENCE] > min_confidence)
        return np.nonzero(kept)[0], packed[kept]

    def _lifted(
        self,
        references: NDArray[np.int64],
        found: tuple[NDArray[np.int64], NDArray[np.float32]],
    ) -> Correspondences:
        """Return what `_kept` gives with 3D points in the map frame."""
        row, columns = found
        values = columns.astype(np.float64)
        lifted = values[:, PACKED_SIZE:]
        return Correspondences(
            keypoints=values[:, QUERY_KEYPOINT],
            points3d=lifted[:, POINT] + self._map.origin,
            confidence=lifted[:, CONFIDENCE],
            reference=references[row],
            reference_keypoints=lifted[:, KEYPOINT],
            depth_sigma=None if self._map.depth_sigma is None else lifted[:, DEPTH_SIGMA],
        )

    def _half(self, camera: Camera) -> Tensor:
        """Return half of an image's width and height, (2,)."""
        size = camera.width, camera.height
        half = self._halves.get(size)
        if half is None:
            half = self._halves[size] = upload(np.array(size, np.float32) / 2, self._device)
        return half


def downloaded(refined: Sequence[Tensor]) -> NDArray[np.float32]:
    """Download the columns of matches with some references each, (K, n, 13) in all; waits."""
    if not refined:
        return np.zeros((0, 0, PACKED_SIZE + LIFTED_SIZE), np.float32)
    packed = refined[0] if len(refined) == 1 else torch.cat(list(refined))
    return np.asarray(packed.cpu().numpy(), dtype=np.float32)


def in_clusters(
    clusters: PendingClusters, packed: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return references (K,) in the order of their clusters, and their matches, which name them.

    Args:
        clusters: not known to the host yet.
        packed: (K, n, 13), matches with all references of the map at hand: places are indices.
    """
    if not packed.shape[1]:
        return np.concatenate(clusters), packed
    chosen = packed[:, 0, PLACE].astype(np.int64)
    clusters.resolve(chosen)
    references = np.concatenate(clusters)
    order = np.argsort(chosen)
    return references, packed[order[np.searchsorted(chosen[order], references)]]

"""Several queries matched on a CUDA device: all their pairs with references as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.cuda.matching import CudaMatcher, downloaded, in_clusters
from deviloc_ros.localization.cuda.retrieval import Clusters
from deviloc_ros.localization.types import Correspondences, Query
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import Recorded, upload


class CudaBatchMatcher(CudaMatcher):
    """Does what CudaMatcher does, for several queries in about the launches of one."""

    def __init__(self, reference_map: Map, config: LocalizerConfig, device: torch.device) -> None:
        """See CudaMatcher."""
        super().__init__(reference_map, config, device)
        self._matched_batch = Recorded(self._compute.of_queries, config.cuda.graphs, device)

    @torch.inference_mode()
    def of_batch(
        self, queries: Sequence[Query], clusters: Sequence[Clusters]
    ) -> list[Correspondences]:
        """Match queries with their clusters of references; see BatchMatcher.

        Raises:
            DamagedMapError: a tile with one of the references cannot be read.
        """
        result: dict[int, Correspondences] = {}
        # Queries with equally many features, so those of one camera, are one batch.
        for count in sorted({len(query.features) for query in queries}):
            members = [i for i, query in enumerate(queries) if len(query.features) == count]
            found = self._of_queries([queries[i] for i in members], [clusters[i] for i in members])
            result.update(zip(members, found, strict=True))
        return [result[i] for i in range(len(queries))]

    def _of_queries(
        self, queries: Sequence[Query], clusters: Sequence[Clusters]
    ) -> list[Correspondences]:
        """Match queries with equally many features, each with its clusters."""
        pending = [each for each in clusters if self.goes_on_with(each)]
        if len(pending) == len(clusters):
            counts = [len(each.chosen) for each in pending]
            packed = self._of_pairs(queries, counts, torch.cat([each.chosen for each in pending]))
            parts = np.split(packed, np.cumsum(counts)[:-1])
            of_queries = [in_clusters(*each) for each in zip(pending, parts, strict=True)]
        else:
            references = [np.concatenate(each) for each in clusters]
            counts = [len(each) for each in references]
            packed = self._of_pairs(queries, counts, np.concatenate(references))
            parts = np.split(packed, np.cumsum(counts)[:-1])
            of_queries = list(zip(references, parts, strict=True))
        return [
            self._lifted(own, self._kept(part, self._fine_confidence)) for own, part in of_queries
        ]

    def _of_pairs(
        self,
        queries: Sequence[Query],
        counts: Sequence[int],
        references: NDArray[np.int64] | Tensor,
    ) -> NDArray[np.float32]:
        """Match each query with so many of the references, or places, (K,); see `_packed`."""
        features = [query.features for query in queries]
        stacked = [
            torch.stack([getattr(each, name) for each in features])
            for name in ("keypoints", "descriptors", "scales", "levels")
        ]
        half = torch.stack([self._half(query.camera) for query in queries])[:, None]
        at_once = self._at_once(len(features[0]), references)
        owner = np.repeat(np.arange(len(counts)), counts)
        refined = []
        for first in range(0, len(references), at_once):
            part = slice(first, first + at_once)
            places = references[part]
            if not isinstance(places, Tensor):
                different, which = np.unique(places, return_inverse=True)
                places = self.stored.places_of(different)[upload(which, self._device)]
            own = upload(owner[part], self._device)
            refined.append(self._matched_batch(*stacked, half, own, places)[0])
        return downloaded(refined)

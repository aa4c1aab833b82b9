"""Several queries matched on a CUDA device: all their pairs with references as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.localization.cuda.matching import CudaMatcher, DeviceQuery
from deviloc_ros.localization.types import Correspondences, Query
from deviloc_ros.models.cuda import upload


class CudaBatchMatcher(CudaMatcher):
    """Does what CudaMatcher does, for several queries in about the launches of one."""

    @torch.inference_mode()
    def of_batch(
        self, queries: Sequence[Query], clusters: Sequence[Sequence[NDArray[np.int64]]]
    ) -> list[Correspondences]:
        """Match queries with their clusters of references; see BatchMatcher.

        Raises:
            DamagedMapError: a tile with one of the references cannot be read.
        """
        result: dict[int, Correspondences] = {}
        asked = [self._asked(query) for query in queries]
        references = [np.concatenate(each) for each in clusters]
        # Queries with equally many features, so those of one camera, are one batch.
        for count in sorted({len(query.descriptors) for query in asked}):
            members = [i for i, query in enumerate(asked) if len(query.descriptors) == count]
            owner = np.repeat(np.arange(len(members)), [len(references[i]) for i in members])
            wanted = np.concatenate([references[i] for i in members])
            together = [_parts(asked[i]) for i in members]
            stacked = DeviceQuery(*(torch.stack(part) for part in zip(*together, strict=True)))
            found = self._of_pairs(stacked, owner, wanted)
            every, of_query = self._lifted(wanted, found), owner[found[0]]
            for place, i in enumerate(members):
                result[i] = every.select(of_query == place)
        return [result[i] for i in range(len(queries))]

    def _of_pairs(
        self, queries: DeviceQuery, owner: NDArray[np.int64], references: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Match queries, `owner` (K,), with references (K,); return what `_downloaded` does."""
        at_once = self._at_once(queries.descriptors.shape[1])
        refined = []
        for first in range(0, len(references), at_once):
            part = slice(first, first + at_once)
            different, which = np.unique(references[part], return_inverse=True)
            places = self.stored.places_of(different)[upload(which, self._device)]
            own = upload(owner[part], self._device)
            query = DeviceQuery(*(each[own] for each in _parts(queries)))
            refined.append(self._refined(query, places, self._coarse(query, places)))
        return self._kept(refined, self._fine_confidence)


def _parts(query: DeviceQuery) -> tuple[torch.Tensor, ...]:
    return query.descriptors, query.rounded, query.length, query.offsets

"""The references of a map on the device: padded to one length, the least recently used replaced."""

from __future__ import annotations

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.errors import InputError
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import upload
from deviloc_ros.models.xfeat import DESCRIPTOR_SIZE

BYTES_PER_MB = 1_000_000
# Columns of `lifted`: point minus the map's origin, its confidence, keypoint, depth sigma.
POINT, CONFIDENCE, KEYPOINT, DEPTH_SIGMA = slice(0, 3), 3, slice(4, 6), 6
LIFTED_SIZE = 7
# Bytes of a feature: descriptor in float16, `lifted` and length in float32, two flags.
BYTES_PER_FEATURE = 2 * DESCRIPTOR_SIZE + 4 * (LIFTED_SIZE + 2) + 1
# References uploaded at once.
UPLOADED_AT_ONCE = 64


class StoredReferences:
    """Features of references in places of equal size on the device.

    Attributes:
        places: number of references that fit, P.
        descriptors: (P, M, D) float16, which holds what the map stores exactly.
        length: (P, M) float32, norms of the descriptors.
        absent: (P, 1, M) float32, 0 for a feature, -infinity for padding: added to a similarity.
        usable: (P, M) bool, whose 3D point is certain enough to be used; the others only compete.
        lifted: (P, M, 7) float32, see the columns above; NaN where unknown.
    """

    def __init__(
        self, reference_map: Map, device: torch.device, memory_mb: int, min_confidence: float
    ) -> None:
        """Make the places, still empty.

        Args:
            reference_map: the map.
            device: where they are.
            memory_mb: at most so much memory.
            min_confidence: of a 3D point that is used, exclusive.

        Raises:
            InputError: not one reference fits into the memory.
        """
        self._map = reference_map
        self._device = device
        self._min_confidence = min_confidence
        counts = np.diff(np.asarray(reference_map.feature_offsets))
        length = max(8, -(-int(counts.max()) // 8) * 8)
        fitting = memory_mb * BYTES_PER_MB // (BYTES_PER_FEATURE * length)
        if fitting < 1:
            needed = -(-BYTES_PER_FEATURE * length // BYTES_PER_MB)
            raise InputError(
                f"cuda.memory_mb = {memory_mb}: one reference of {reference_map.source} takes "
                f"{needed} MB; use at least that"
            )
        self.places = min(len(counts), int(fitting))
        size = self.places, length
        self.descriptors = torch.zeros(*size, DESCRIPTOR_SIZE, dtype=torch.float16, device=device)
        self.length = torch.ones(size, device=device)
        self.absent = torch.zeros(size[0], 1, length, device=device)
        self.usable = torch.zeros(size, dtype=torch.bool, device=device)
        self.lifted = torch.zeros(*size, LIFTED_SIZE, device=device)
        self._place_of: LRUCache[int, int] = LRUCache(self.places)

    @property
    def padded_length(self) -> int:
        """Features of a place, M."""
        return self.descriptors.shape[1]

    @property
    def num_bytes(self) -> int:
        """Memory that the places take on the device."""
        every = self.descriptors, self.length, self.absent, self.usable, self.lifted
        return sum(each.nbytes for each in every)

    def preload(self) -> None:
        """Upload the first references of the map, as many as fit."""
        for first in range(0, self.places, UPLOADED_AT_ONCE):
            last = min(first + UPLOADED_AT_ONCE, self.places)
            self.places_of(np.arange(first, last))

    def places_of(self, references: NDArray[np.int64]) -> Tensor:
        """Return the places (K,) int64 of references, on the device; upload those that have none.

        Args:
            references: indices (K,), different ones, not more than there are places.

        Raises:
            DamagedMapError: a tile with one of them cannot be read.
        """
        wanted = [int(index) for index in references]
        # Touching those that are there first keeps them from being replaced.
        missing = [index for index in wanted if self._place_of.get(index) is None]
        if missing:
            self._store(missing)
        places = np.array([self._place_of[index] for index in wanted], dtype=np.int64)
        return upload(places, self._device)

    def _store(self, missing: list[int]) -> None:
        """Upload references, in place of those that were not used for longest."""
        described = [self._padded(index) for index in missing]
        places = []
        for index in missing:
            free = len(self._place_of)
            if free == self.places:
                _, free = self._place_of.popitem()
            self._place_of[index] = free
            places.append(free)
        rows = upload(np.array(places, dtype=np.int64), self._device)
        descriptors, present, usable, lifted = (
            upload(np.stack(parts), self._device) for parts in zip(*described, strict=True)
        )
        with torch.inference_mode():
            self.descriptors.index_copy_(0, rows, descriptors)
            norms = torch.linalg.vector_norm(descriptors.float(), dim=2)
            self.length.index_copy_(0, rows, torch.where(present, norms, 1.0))
            absent = torch.zeros_like(norms).masked_fill_(~present, -torch.inf)
            self.absent.index_copy_(0, rows, absent[:, None])
            self.usable.index_copy_(0, rows, usable)
            self.lifted.index_copy_(0, rows, lifted)

    def _padded(self, index: int) -> tuple[NDArray[np.generic], ...]:
        """Return descriptors, which are no padding, which are usable, and `lifted`."""
        rows, stored = self._map.features_of(index), self._map
        count = rows.stop - rows.start
        descriptors = np.zeros((self.padded_length, DESCRIPTOR_SIZE), np.float16)
        present, usable = np.zeros((2, self.padded_length), np.bool_)
        lifted = np.zeros((self.padded_length, LIFTED_SIZE), np.float32)
        descriptors[:count] = decoded(stored.descriptors[rows])
        present[:count] = True
        confidence = np.asarray(stored.confidence[rows])
        usable[:count] = confidence > self._min_confidence
        lifted[:count, POINT] = stored.feature_points[rows]
        lifted[:count, CONFIDENCE] = confidence
        lifted[:count, KEYPOINT] = stored.keypoints[rows]
        sigma = stored.depth_sigma
        lifted[:count, DEPTH_SIGMA] = np.nan if sigma is None else sigma[rows]
        return descriptors, present, usable, lifted

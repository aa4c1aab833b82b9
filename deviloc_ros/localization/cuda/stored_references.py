"""The references of a map on the device: padded to one length, the least recently used replaced."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.localization.cuda.places import LIFTED_SIZE, Places, padded_length
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import upload
from deviloc_ros.models.xfeat import DESCRIPTOR_SIZE

# Columns of `lifted`: point minus the map's origin, its confidence, keypoint, depth sigma.
POINT, CONFIDENCE, KEYPOINT, DEPTH_SIGMA = slice(0, 3), 3, slice(4, 6), 6
# References uploaded at once.
UPLOADED_AT_ONCE = 64


class StoredReferences:
    """Features of references in places of equal size on the device.

    Attributes:
        descriptors: (P, M, D) float16, which holds what the map stores exactly.
        length: (P, M) float32, norms of the descriptors.
        absent: (P, 1, M) float32, 0 for a feature, -infinity for padding: added to a similarity.
        padded: whether a reference of the map has padding.
        whole_map: all references of the map are there, and their places are their indices.
        usable: (P, M) bool, whose 3D point is certain enough to be used; the others only compete.
        lifted: (P, M, 7) float32, see the columns above; NaN where unknown.
    """

    def __init__(
        self, reference_map: Map, device: torch.device, places: int, min_confidence: float
    ) -> None:
        """Make the places, still empty.

        Args:
            reference_map: the map.
            device: where they are.
            places: so many.
            min_confidence: of a 3D point that is used, exclusive.
        """
        self._map = reference_map
        self._device = device
        self._min_confidence = min_confidence
        self._places = Places(places)
        self.whole_map = False
        counts = np.diff(np.asarray(reference_map.feature_offsets))
        self.padded = bool((counts < padded_length(reference_map)).any())
        size = places, padded_length(reference_map)
        self.descriptors = torch.zeros(*size, DESCRIPTOR_SIZE, dtype=torch.float16, device=device)
        self.length = torch.ones(size, device=device)
        self.absent = torch.zeros(size[0], 1, size[1], device=device)
        self.usable = torch.zeros(size, dtype=torch.bool, device=device)
        self.lifted = torch.zeros(*size, LIFTED_SIZE, device=device)

    @property
    def places(self) -> int:
        """Number of references that fit, P."""
        return self._places.count

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
        every = np.arange(len(self._map.references))
        self.whole_map = len(every) == self.places and np.array_equal(self._places.of(every), every)

    def places_of(self, references: NDArray[np.int64]) -> Tensor:
        """Return the places (K,) int64 of references, on the device; upload those that have none.

        Args:
            references: indices (K,), different ones, not more than there are places.

        Raises:
            DamagedMapError: a tile with one of them cannot be read.
        """
        missing = self._places.missing(references)
        if missing:
            self._store(missing)
        return upload(self._places.of(references), self._device)

    def _store(self, missing: list[int]) -> None:
        """Upload references, in place of those that were not used for longest."""
        described = [self._padded(index) for index in missing]
        rows = upload(self._places.take(missing), self._device)
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

"""Where references of a map lie in the memory of a device, which may hold only some of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.localization.photometric.aligner import reduced_size
from deviloc_ros.maps.map import Map
from deviloc_ros.models.xfeat import DESCRIPTOR_SIZE

BYTES_PER_MB = 1_000_000
# Sides of arrays are multiples of this, for aligned rows.
MULTIPLE = 8
# Numbers of a feature that is looked up: point, its confidence, keypoint, depth sigma.
LIFTED_SIZE = 7
# Bytes of a feature: descriptor in float16, what is looked up and length in float32, two flags.
BYTES_PER_FEATURE = 2 * DESCRIPTOR_SIZE + 4 * (LIFTED_SIZE + 2) + 1


class Places:
    """Gives references places, and takes them from those that were not used for longest."""

    def __init__(self, count: int) -> None:
        """Make so many places, still free."""
        self.count = count
        self._place_of: LRUCache[int, int] = LRUCache(count)

    def __len__(self) -> int:
        """Return how many places are taken."""
        return len(self._place_of)

    def missing(self, references: NDArray[np.int64]) -> list[int]:
        """Return those of some references that have no place; the others keep theirs.

        Args:
            references: indices (K,), different ones, not more than there are places.
        """
        # Looking up those that are there keeps them from being replaced.
        return [index for index in references.tolist() if self._place_of.get(index) is None]

    def take(self, references: Sequence[int]) -> NDArray[np.int64]:
        """Give places (K,) to references that have none."""
        taken = []
        for index in references:
            place = len(self._place_of)
            if place == self.count:
                _, place = self._place_of.popitem()
            self._place_of[index] = place
            taken.append(place)
        return np.array(taken, dtype=np.int64)

    def of(self, references: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places (K,) of references that have one."""
        return np.array([self._place_of[index] for index in references.tolist()], dtype=np.int64)


def padded_length(reference_map: Map) -> int:
    """Return how many features a place has room for."""
    counts = np.diff(np.asarray(reference_map.feature_offsets))
    return max(MULTIPLE, -(-int(counts.max()) // MULTIPLE) * MULTIPLE)


def image_size(reference_map: Map, max_size: int) -> tuple[int, int]:
    """Return height and width that hold each reference's image of the working size."""
    cameras = {each.camera for each in reference_map.references}
    sizes = [reduced_size((each.height, each.width), max_size) for each in cameras]
    # A map's images may have been reduced before, and rounded otherwise.
    height, width = (-(-(int(side) + 1) // MULTIPLE) * MULTIPLE for side in np.max(sizes, axis=0))
    return height, width


def num_places(reference_map: Map, config: LocalizerConfig) -> int:
    """Return how many references fit into `cuda.memory_mb`: features, and images to align with.

    Raises:
        InputError: not one does.
    """
    length = padded_length(reference_map)
    needed = BYTES_PER_FEATURE * length
    if config.alignment.enabled and reference_map.alignable:
        height, width = image_size(reference_map, config.features.max_size)
        needed += height * width
    fitting = config.cuda.memory_mb * BYTES_PER_MB // needed
    if fitting < 1:
        raise InputError(
            f"cuda.memory_mb = {config.cuda.memory_mb}: one reference of {reference_map.source} "
            f"takes {-(-needed // BYTES_PER_MB)} MB; use at least that"
        )
    return min(len(reference_map.references), int(fitting))

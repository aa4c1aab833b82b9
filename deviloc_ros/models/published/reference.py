"""A reference image as it goes into the networks and as it comes out, ready for any query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.models.published.pin import ObservedBranch
from deviloc_ros.models.published.pin_geometry import ReferenceCamera
from deviloc_ros.models.topicfm.image_features import ImageFeatures


@dataclass(frozen=True)
class ReferenceView:
    """A reference image with what the map knows about it.

    Attributes:
        image: (1, 1, H, W) float32 in [0, 1], H and W multiples of 16.
        scale: original pixels per network pixel in x and y.
        observations: (N, 2) float64, pixels of the original image, COLMAP convention.
        points: (N, 3) float64, the observed 3D points, map frame.
        camera: float64; intrinsics and distortion of the original image, camera_from_map.
    """

    image: Tensor
    scale: tuple[float, float]
    observations: Tensor
    points: Tensor
    camera: ReferenceCamera


@dataclass(frozen=True)
class EncodedReference:
    """Everything about a reference that does not depend on the query.

    Attributes:
        features: backbone maps.
        observations: (N, 2), pixels; float32 as published, float64 where mended.
        points: (N, 3), map frame; same precision.
        camera: same precision.
        observed: PIN's branch of the observed points, None where there are none.
    """

    features: ImageFeatures
    observations: Tensor
    points: Tensor
    camera: ReferenceCamera
    observed: ObservedBranch | None

    @property
    def num_bytes(self) -> int:
        """Memory it takes on its device."""
        branch = 0 if self.observed is None else self.observed.num_bytes
        lists = self.observations.nbytes + self.points.nbytes
        return self.features.num_bytes + lists + branch


def choose_observations(count: int, limit: int, seed: int) -> NDArray[np.int64]:
    """Return the indices, ascending, of at most `limit` of `count` observations.

    The choice depends on the seed alone (one per image, say its id). The published code drew from
    a global generator and gave other choices with another number of loader processes.
    """
    if count <= limit:
        return np.arange(count)
    chosen = np.random.default_rng(seed).choice(count, limit, replace=False)
    return np.sort(chosen)

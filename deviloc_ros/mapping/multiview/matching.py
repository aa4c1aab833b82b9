"""Features of one reference, found again in its neighbours by the product's own matcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.ray_triangulation import RayMeasurements, triangulate_on_rays
from deviloc_ros.localization.backend import backend_of
from deviloc_ros.localization.features import LEVELS, network_sizes
from deviloc_ros.localization.types import Features
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.offset_bias import OffsetBias


def reference_features(
    reference_map: Map, index: int, config: LocalizerConfig, device: torch.device
) -> Features:
    """Return a reference's stored features, as if it were a query."""
    stored = reference_map.features_of(index)
    camera = reference_map.references[index].camera
    sizes = network_sizes(camera.width, camera.height, config.features.max_size)
    scales = torch.tensor(
        [(camera.width / width + camera.height / height) / 2 for width, height in sizes]
    )
    levels = torch.from_numpy(np.array(reference_map.levels[stored]))
    return Features(
        keypoints=torch.from_numpy(np.array(reference_map.keypoints[stored])).to(device),
        descriptors=torch.from_numpy(decoded(reference_map.descriptors[stored])).to(device).float(),
        scales=scales[levels.long()].to(device),
        levels=levels.to(device),
    )


@dataclass(frozen=True)
class SeenAgain:
    """Where a neighbour sees features of a reference, one level of the neighbour's pyramid.

    Attributes:
        neighbour: index of the other reference.
        level: of its pyramid.
        scale: its pixels per network pixel on that level.
        feature: (N,) int64, which features of the reference: 0 is its first.
        keypoints: (N, 2) float64, where the neighbour sees them: pixels, the fine offset's bias
            not yet subtracted.
    """

    neighbour: int
    level: int
    scale: float
    feature: NDArray[np.int64]
    keypoints: NDArray[np.float64]


# What a reference with the most features that can be asked for takes on a GPU, and more.
MEMORY_MB = 100

# Index of a reference and its neighbours (N,) to what they see of it.
ViewMatches = Callable[[int, NDArray[np.int64]], list[SeenAgain]]


class ViewMatcher:
    """Matches references of a map with each other as the localizer matches a query with them."""

    def __init__(self, reference_map: Map, config: LocalizerConfig) -> None:
        """Take every feature, whether or not it has a 3D point, and every match."""
        self._config = config.model_copy(
            update={
                "matching": config.matching.model_copy(
                    update={"num_matches": config.features.num_keypoints, "cached_references": 1}
                ),
                # One reference at a time: hundreds are not kept on a GPU.
                "cuda": config.cuda.model_copy(update={"memory_mb": MEMORY_MB}),
            }
        )
        backend = backend_of(self._config)
        self._device = backend.device
        self._map = replace(
            reference_map,
            confidence=np.ones_like(reference_map.confidence),
            calibration=Calibration(np.zeros((len(LEVELS), 2))),
        )
        self._match = backend.matcher(self._map)

    def __call__(self, index: int, neighbours: NDArray[np.int64]) -> list[SeenAgain]:
        """Match a reference with each of its neighbours."""
        found = []
        first = int(self._map.feature_offsets[index])
        for neighbour in neighbours:
            features = reference_features(self._map, int(neighbour), self._config, self._device)
            for level in range(len(LEVELS)):
                kept = features.levels == level
                if not bool(kept.any()):
                    continue
                part = Features(*(getattr(features, key)[kept] for key in Features.__annotations__))
                matches = self._match.match(part, np.array([index]))
                found.append(
                    SeenAgain(
                        int(neighbour), level, float(part.scales[0]), matches.feature - first,
                        matches.keypoints,
                    )
                )  # fmt: skip
        return found


def triangulate(
    reference_map: Map, index: int, seen: SeenAgain, bias: OffsetBias
) -> RayMeasurements:
    """Measure the depths of a reference's features from where a neighbour sees them.

    Args:
        reference_map: poses, cameras and keypoints.
        index: the reference.
        seen: its features in the neighbour.
        bias: of fine offsets.
    """
    first = reference_map.references[index]
    second = reference_map.references[seen.neighbour]
    keypoints = reference_map.keypoints[reference_map.features_of(index)][seen.feature]
    return triangulate_on_rays(
        first.camera.rays(keypoints.astype(np.float64)),
        second.camera,
        second.camera_from_map @ first.camera_from_map.inverse(),
        unbiased(seen, second.camera, bias),
    )


def unbiased(seen: SeenAgain, camera: Camera, bias: OffsetBias) -> NDArray[np.float64]:
    """Return the keypoints (N, 2) that a neighbour sees features at, without their bias."""
    return seen.keypoints - bias.at(seen.level, seen.keypoints, camera) * seen.scale

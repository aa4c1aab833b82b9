"""Coarse matches with context: by attention, and near where a pose puts features; on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.context.attention import AttentionFeatures, AttentionMatcher
from deviloc_ros.localization.context.guided import guided_nearest_neighbours, unit_codes
from deviloc_ros.localization.context.windows import pose_windows
from deviloc_ros.localization.matching.mutual_nearest_neighbours import Pairs
from deviloc_ros.localization.types import Query
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map

FoundT = TypeVar("FoundT", covariant=True)


class ContextSearch(Protocol[FoundT]):
    """Finds coarse matches; of a type that a backend's matcher refines."""

    def attended(self, query: Query, references: NDArray[np.int64]) -> FoundT:
        """Match a query with references by attention."""
        ...

    def near(
        self, query: Query, cluster: NDArray[np.int64], camera_from_map: Transform, radius: float
    ) -> FoundT:
        """Match the query's features near where a pose puts those of references.

        Args:
            query: the image and its features.
            cluster: indices of references (K,).
            camera_from_map: about the pose of the query.
            radius: by how much that may shift the image, pixels of the working size.
        """
        ...


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


class CpuContextSearch:
    """Attention by LighterGlue, windows feature by feature."""

    def __init__(self, reference_map: Map, config: LocalizerConfig) -> None:
        """Load the network; references are prepared when first used.

        Args:
            reference_map: any map for matcher xfeat.
            config: the configuration.

        Raises:
            InputError: the weights are missing.
        """
        self._map = reference_map
        self._max_size = config.features.max_size
        self._attention = AttentionMatcher(config)
        self._references: LRUCache[int, ContextReference] = LRUCache(
            config.matching.cached_references
        )

    def attended(self, query: Query, references: NDArray[np.int64]) -> list[Pairs]:
        """Match a query with references by attention."""
        features, camera = query.features, query.camera
        chosen = self._attention.choose(
            features.keypoints, features.descriptors, features.levels,
            (camera.width, camera.height),
        )  # fmt: skip
        stored = [self._reference(int(index)).features for index in references]
        return self._attention.match(chosen, stored)

    def near(
        self, query: Query, cluster: NDArray[np.int64], camera_from_map: Transform, radius: float
    ) -> list[Pairs]:
        """Match the query's features near where a pose puts those of references."""
        keypoints = query.features.keypoints.numpy().astype(np.float64)
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
            result.append((torch.from_numpy(found[0]), torch.from_numpy(found[1])))
        return result

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
                    keypoints, descriptors, levels, (camera.width, camera.height)
                ),
                unit_codes(descriptors),
                np.asarray(self._map.feature_points[rows], dtype=np.float64) + self._map.origin,
                None if sigma is None else np.asarray(sigma[rows], dtype=np.float64),
            )
        return self._references[index]

"""Matcher `aliked`: sparse keypoints and LightGlue, for the night where there is time or a GPU.

Any map that holds images will do. A reference's keypoints are found in its stored image when it is
first used. Each keeps its own viewing ray and takes its depth from the nearest feature of the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.photometric.aligner import reduced_to
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Query, concatenated
from deviloc_ros.maps.map import Map
from deviloc_ros.models.aliked import AlikedExtractor, LightGlueMatcher

# A feature of the map this near to a keypoint lies on the same surface; pixels of the working size:
# features stand on a grid of 6 pixels where an image is dense with them.
NEAR = 8.0


@dataclass(frozen=True)
class SparseFeatures:
    """Keypoints of one image.

    Attributes:
        keypoints: (N, 2) float64, pixels of the original image.
        described: (N, 2) and (N, 128) tensors, keypoints in the reduced image and descriptors.
        size: width and height of the reduced image.
    """

    keypoints: NDArray[np.float64]
    described: tuple[torch.Tensor, torch.Tensor]
    size: tuple[int, int]


@dataclass(frozen=True)
class LiftedFeatures:
    """Keypoints of a reference, those whose depth is known.

    Attributes:
        features: the keypoints.
        points3d: (N, 3) float64, map frame.
        confidence: (N,) float64, of these points.
        depth_sigma: (N,) float64, relative; NaN where unknown.
    """

    features: SparseFeatures
    points3d: NDArray[np.float64]
    confidence: NDArray[np.float64]
    depth_sigma: NDArray[np.float64]


class AlikedMatcher:
    """Matches a query's keypoints with those of references and looks their 3D points up."""

    unusable = np.zeros(0, dtype=np.int64)

    def __init__(self, reference_map: Map, config: LocalizerConfig, device: torch.device) -> None:
        """Load the networks.

        Raises:
            InputError: kornia or the weights are missing, or the map holds no images.
        """
        if reference_map.image_bytes is None:
            raise InputError(
                f"{reference_map.source}: matcher aliked needs the reference images, which this "
                "map does not hold; build it again, or use matcher xfeat"
            )
        self._extract = AlikedExtractor(config.matching.context_keypoints, device)
        self._match = LightGlueMatcher(device)
        self._map = reference_map
        self._max_size = config.features.max_size
        self._min_confidence = config.aggregation.min_confidence
        self._references: LRUCache[int, LiftedFeatures] = LRUCache(
            config.matching.cached_references
        )

    def __call__(
        self, query: Query, clusters: Sequence[NDArray[np.int64]], clock: StageClock
    ) -> Correspondences:
        """Match a query to references; see Matcher."""
        if query.image is None:
            raise ValueError("matcher aliked needs the query's image, not only its features")
        with clock("encode"):
            found = self._features(query.image, query.camera)
            references = [int(index) for index in np.concatenate(clusters)]
            stored = [self._reference(index) for index in references]
        with clock("match"):
            return concatenated(
                [
                    self._matched(found, reference, index)
                    for index, reference in zip(references, stored, strict=True)
                ]
            )

    def warm_up(self) -> None:
        """Load nothing: references are encoded when they are first used."""

    def _matched(
        self, query: SparseFeatures, reference: LiftedFeatures, index: int
    ) -> Correspondences:
        other = reference.features
        left, right = np.zeros((2, 0), dtype=np.int64)
        if len(query.keypoints) and len(other.keypoints):
            pairs = self._match(query.described, other.described, (query.size, other.size))
            left, right = (part.cpu().numpy() for part in pairs)
        return Correspondences(
            keypoints=query.keypoints[left],
            points3d=reference.points3d[right],
            confidence=reference.confidence[right],
            reference=np.full(len(left), index, dtype=np.int64),
            reference_keypoints=other.keypoints[right],
            depth_sigma=reference.depth_sigma[right],
        )

    def _features(self, image: NDArray[np.uint8], camera: Camera) -> SparseFeatures:
        reduced = reduced_to(image, self._max_size)
        keypoints, descriptors = self._extract(torch.from_numpy(reduced))
        height, width = reduced.shape
        scale = np.array([camera.width / width, camera.height / height])
        pixels = keypoints.cpu().numpy().astype(np.float64) * scale
        return SparseFeatures(pixels, (keypoints, descriptors), (width, height))

    def _reference(self, index: int) -> LiftedFeatures:
        """Return a reference's keypoints with depths: from memory, or found now."""
        if index not in self._references:
            self._references[index] = self._lifted(index)
        return self._references[index]

    def _lifted(self, index: int) -> LiftedFeatures:
        reference, rows = self._map.references[index], self._map.features_of(index)
        found = self._features(self._map.image_of(index), reference.camera)
        confidence = np.asarray(self._map.confidence[rows], dtype=np.float64)
        known = np.flatnonzero(confidence > self._min_confidence)
        none = np.zeros(0)
        if not len(known) or not len(found.keypoints):
            return LiftedFeatures(_rows(found, np.zeros(0, np.int64)), np.zeros((0, 3)), none, none)
        in_map = np.asarray(self._map.feature_points[rows], dtype=np.float64)[known]
        depth = reference.camera_from_map.apply(in_map + self._map.origin)[:, 2]
        radius = NEAR * reference.camera.reduction_to(self._max_size)
        tree = cKDTree(self._map.keypoints[rows][known])
        distance, near = (np.asarray(each) for each in tree.query(found.keypoints))
        (kept,) = np.nonzero(distance < radius)
        nearest = near[kept]
        rays = reference.camera.rays(found.keypoints[kept])
        points = reference.camera_from_map.inverse().apply(rays * depth[nearest, None])
        sigma = np.full(len(kept), np.nan)
        if self._map.depth_sigma is not None:
            sigma = np.asarray(self._map.depth_sigma[rows], dtype=np.float64)[known][nearest]
        sound = np.isfinite(points).all(axis=1)
        features = _rows(found, kept[sound])
        of_map = confidence[known][nearest]
        return LiftedFeatures(features, points[sound], of_map[sound], sigma[sound])


def _rows(features: SparseFeatures, rows: NDArray[np.int64]) -> SparseFeatures:
    """Return some of the keypoints."""
    keypoints, descriptors = features.described
    index = torch.from_numpy(rows).to(keypoints.device)
    return SparseFeatures(
        features.keypoints[rows], (keypoints[index], descriptors[index]), features.size
    )

"""Classic localization on the same map: SIFT of the query against the map's observed points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.localization.pose import PoseHypothesis, estimate_pose
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.mapping.sfm.sift_settings import FINE_SIFT
from deviloc_ros.maps.map import Map

# As in tables.
SIFT = "SIFT"
RATIO = 0.8
MIN_INLIERS = 12
# An SfM observation is one of the image's own SIFT keypoints, at the same place.
SAME_PLACE = 0.5
AREA = cv2.INTER_AREA


# Keypoints (N, 2) and unit descriptors (N, 128).
Described = tuple[NDArray[np.float64], NDArray[np.float32]]


class SiftLocalizer:
    """Localizes against references that retrieval has chosen; features of images are kept."""

    def __init__(self, images: Path, config: LocalizerConfig) -> None:
        """Localize in maps of the images of a folder."""
        self._images = images
        self._config = config
        options = pycolmap.FeatureExtractionOptions(max_image_size=FINE_SIFT.max_image_size)
        self._sift = pycolmap.Sift(options, pycolmap.Device.cpu)
        self._of_references: dict[str, Described] = {}
        self._of_queries: dict[str, Described] = {}

    def __call__(
        self, place: Map, image: NDArray[np.uint8], camera: Camera, names: Sequence[str]
    ) -> Transform | None:
        """Return camera_from_map of a gray image, or None; `names` are references of the map."""
        pose = self.estimate(self.matches(place, image, names), camera)
        return None if pose is None or pose.num_inliers < MIN_INLIERS else pose.camera_from_map

    def estimate(self, matches: Correspondences, camera: Camera) -> PoseHypothesis | None:
        """Return the pose of matches, by the localizer's own means."""
        scale = max(1.0, max(camera.width, camera.height) / self._config.features.max_size)
        return estimate_pose(matches, camera, self._config.pose, scale, self._config.seed)

    def matches(
        self, place: Map, image: NDArray[np.uint8], names: Sequence[str], size: int | None = None
    ) -> Correspondences:
        """Match a gray image with points that references of these names observe.

        Args:
            place: the map.
            image: the query.
            names: of references.
            size: longer side to which the query is reduced first; keypoints are of the whole one.
        """
        factor = 1.0 if size is None else max(1.0, max(image.shape) / size)
        if factor > 1.0:
            small = cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=AREA)
            image = np.asarray(small, dtype=np.uint8)
        keypoints, descriptors = self._described(image)
        index_of = {reference.name: i for i, reference in enumerate(place.references)}
        pixels, points = [np.zeros((0, 2))], [np.zeros((0, 3))]
        for name in names:
            known, described = self._observed(place, index_of[name])
            of_query, of_reference = _match(descriptors, described)
            pixels.append(keypoints[of_query] * factor)
            points.append(known[of_reference])
        return _correspondences(np.concatenate(pixels), np.concatenate(points))

    def _described(self, image: NDArray[np.uint8]) -> Described:
        """Return what was extracted of a query, which is localized in many maps."""
        key = hashlib.sha256(image.tobytes()).hexdigest()
        if key not in self._of_queries:
            self._of_queries[key] = self._extract(image)
        return self._of_queries[key]

    def _extract(self, image: NDArray[np.uint8]) -> Described:
        keypoints, descriptors = self._sift.extract(np.ascontiguousarray(image))
        described = np.asarray(descriptors, dtype=np.float32)
        described /= np.maximum(np.linalg.norm(described, axis=1, keepdims=True), 1e-9)
        return np.asarray(keypoints[:, :2], dtype=np.float64), described

    def _observed(self, place: Map, index: int) -> Described:
        """Return the points (N, 3) that a reference observes and their descriptors there."""
        name = place.references[index].name
        if name not in self._of_references:
            self._of_references[name] = self._extract(read_gray(self._images / name))
        keypoints, descriptors = self._of_references[name]
        rows = place.observations_of(index)
        if rows.start == rows.stop:
            return np.zeros((0, 3)), descriptors[:0]
        distance, nearest = cKDTree(keypoints).query(place.observation_pixels[rows])
        sound = np.asarray(distance < SAME_PLACE, dtype=np.bool_)
        nearest = np.asarray(nearest, dtype=np.int64)
        points = place.points3d[np.asarray(place.observation_points[rows])]
        return points[sound], descriptors[nearest[sound]]


def _match(
    query: NDArray[np.float32], reference: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return mutual nearest neighbours that pass the ratio test (unit descriptors)."""
    none = np.zeros(0, dtype=np.int64)
    if len(reference) < 2 or len(query) < 2:
        return none, none
    similarity = query @ reference.T
    best = np.asarray(similarity.argmax(axis=1))
    rows = np.arange(len(query))
    first = similarity[rows, best]
    back = np.asarray(similarity.argmax(axis=0))
    similarity[rows, best] = -1
    second = similarity.max(axis=1)
    # Distances of unit vectors: |a - b|^2 = 2 - 2 a.b
    passed = np.sqrt(np.maximum(1 - first, 0)) < RATIO * np.sqrt(np.maximum(1 - second, 0))
    passed &= back[best] == rows
    return rows[passed], best[passed]


def _correspondences(pixels: NDArray[np.float64], points: NDArray[np.float64]) -> Correspondences:
    nowhere = np.full(len(points), -1, dtype=np.int64)
    return Correspondences(pixels, points, np.ones(len(points)), nowhere, pixels)

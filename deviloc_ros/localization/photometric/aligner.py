"""Matches moved to where the images themselves agree.

A network's matches err by about half a pixel, and those of one surface err alike, the more so in
another light. Once a pose is known, so is what a patch around a reference's keypoint looks like in
the query, but for a shift; that shift is found in the pixels (lucas_kanade.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.photometric.expectation import accepted, expected_patches
from deviloc_ros.localization.photometric.lucas_kanade import SMOOTHING, align_patches
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.types import Correspondences, Query
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference


@dataclass(frozen=True)
class AlignableImage:
    """An image of the working size, smoothed.

    Attributes:
        pixels: (H, W) uint8, gray.
        scale: (2,) float64, its pixels per pixel of the original.
    """

    pixels: NDArray[np.uint8]
    scale: NDArray[np.float64]

    @staticmethod
    def of(image: NDArray[np.uint8], camera: Camera, max_size: int) -> AlignableImage:
        """Make one of an image, original or reduced, and the original's camera."""
        reduced = cv2.GaussianBlur(reduced_to(image, max_size), (0, 0), SMOOTHING)
        scale = np.array(reduced.shape[::-1]) / (camera.width, camera.height)
        return AlignableImage(np.asarray(reduced, dtype=np.uint8), scale)


def reduced_to(image: NDArray[np.uint8], max_size: int) -> NDArray[np.uint8]:
    """Return an image (H, W) whose longer side is at most `max_size` pixels."""
    height, width = reduced_size(image.shape, max_size)
    if (height, width) == image.shape:
        return image
    reduced = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, dtype=np.uint8)


def reduced_size(shape: Sequence[int], max_size: int) -> tuple[int, int]:
    """Return height and width of an image of a shape (H, W) whose longer side is reduced."""
    factor = min(1.0, max_size / max(shape))
    return round(shape[0] * factor), round(shape[1] * factor)


def sampled(matches: Correspondences, count: int) -> Correspondences:
    """Return at most `count` matches, in their order.

    Whether a match is taken depends on its reference keypoint, not on its place among the others.
    Devices that round differently have most matches in common, in another order: they take the
    same. The keypoint's bits are mixed by the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast
    Splittable Pseudorandom Number Generators", OOPSLA 2014).
    """
    if len(matches) <= count:
        return matches
    mixed = matches.reference.astype(np.uint64)
    for column in (matches.reference_keypoints + 0.0).T:  # -0 and 0 are one place
        mixed = _mixed(mixed ^ np.ascontiguousarray(column).view(np.uint64))
    return matches.select(np.sort(np.argsort(mixed, kind="stable")[:count]))


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


ToAlign = tuple[Query, Transform, Correspondences]


class Align(Protocol):
    """Aligns matches with references of a map that holds their images."""

    def __call__(
        self, query: Query, camera_from_map: Transform, matches: Correspondences
    ) -> AlignedMatches:
        """Find the keypoints of matches in the pixels of the query; see `Aligner`."""
        ...

    def of_several(self, asked: Sequence[ToAlign]) -> list[AlignedMatches]:
        """Return what the call gives for each query, its pose and its matches."""
        ...

    def warm_up(self) -> None:
        """Compile and load what would else be at the first query."""
        ...


class Aligner:
    """Aligns matches by the pixels on the CPU, a thread for each reference."""

    def __init__(self, reference_map: Map, config: LocalizerConfig) -> None:
        """Take `alignment.*`; images are decoded when first used."""
        self._map = reference_map
        self._max_size = config.features.max_size
        self._num_matches = config.alignment.num_matches
        self._images: LRUCache[int, AlignableImage] = LRUCache(config.matching.cached_references)
        self._decoding = threading.Lock()
        self._pool = ThreadPoolExecutor(torch.get_num_threads(), "alignment")

    def __call__(
        self, query: Query, camera_from_map: Transform, matches: Correspondences
    ) -> AlignedMatches:
        """Find the keypoints of matches in the pixels of the query.

        Args:
            query: with its image.
            camera_from_map: about where it was taken, to a few pixels.
            matches: that agree with the pose, not merged; of more than `alignment.num_matches`,
                so many are taken, see `sampled`.

        Returns:
            All of them; those that were not found stay where they are.
        """
        if query.image is None:
            raise ValueError("matches are aligned by the query's image, not only by its features")
        matches = sampled(matches, self._num_matches)
        image = AlignableImage.of(query.image, query.camera, self._max_size)
        return self.align(image, query.camera, camera_from_map, matches)

    def of_several(self, asked: Sequence[ToAlign]) -> list[AlignedMatches]:
        """Align one query after the other; see Align."""
        return [self(*each) for each in asked]

    def warm_up(self) -> None:
        """Compile the search of patches."""
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
        middle = np.full((1, 2), 32.0)
        align_patches(pixels, pixels, middle, middle, np.eye(2)[None])

    def align(
        self,
        image: AlignableImage,
        camera: Camera,
        camera_from_map: Transform,
        matches: Correspondences,
    ) -> AlignedMatches:
        """Find the keypoints of all matches in an image of a camera; see `__call__`."""
        result = AlignedMatches(
            replace(matches, keypoints=matches.keypoints.copy()),
            np.empty((len(matches), 2, 2)),
            np.empty(len(matches), dtype=np.bool_),
            np.empty(len(matches)),
        )

        def with_reference(index: int, reference_image: AlignableImage) -> None:
            rows = np.flatnonzero(matches.reference == index)
            part = _aligned(
                reference_image, image, self._map.references[index], camera, camera_from_map,
                matches.select(rows),
            )  # fmt: skip
            result.matches.keypoints[rows] = part.matches.keypoints
            result.covariance[rows], result.found[rows] = part.covariance, part.found
            result.contrast[rows] = part.contrast

        references = [int(index) for index in np.unique(matches.reference)]
        images = [self.image_of(index) for index in references]
        list(self._pool.map(with_reference, references, images))
        return result

    def image_of(self, reference: int) -> AlignableImage:
        """Return a reference's image, from memory or decoded now."""
        with self._decoding:  # several queries may be aligned at once
            image = self._images.get(reference)
            if image is None:
                camera = self._map.references[reference].camera
                image = AlignableImage.of(self._map.image_of(reference), camera, self._max_size)
                self._images[reference] = image
            return image


def _aligned(
    first: AlignableImage,
    second: AlignableImage,
    reference: Reference,
    camera: Camera,
    camera_from_map: Transform,
    matches: Correspondences,
) -> AlignedMatches:
    """Align matches with one reference."""
    expected = expected_patches(
        reference, first.scale, camera, second.scale, camera_from_map, matches
    )
    patches = align_patches(
        first.pixels, second.pixels, expected.middles, expected.start, expected.warps
    )
    return accepted(matches, expected, patches, second.scale)

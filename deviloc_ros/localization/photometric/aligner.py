"""Matches moved to where the images themselves agree.

A network's matches err by about half a pixel, and those of one surface err alike, the more so in
another light. Once a pose is known, so is what a patch around a reference's keypoint looks like in
the query, but for a shift; that shift is found in the pixels (lucas_kanade.py).
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.photometric.lucas_kanade import align_patches
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.types import Correspondences, Query
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

# Smoothed by this much, pixels, images can be interpolated and differentiated.
SMOOTHING = 0.8
# That makes neighbouring pixels err alike: so many of them tell as much as one.
PIXELS_ALIKE = 4 * np.pi * SMOOTHING**2
# A patch that differs more, or lies further from where the match was, shows something else.
MIN_CORRELATION = 0.7
MAX_SHIFT = 3.0
# What the pixels do not tell of a keypoint's error: surfaces are not flat, optics not sharp.
# Standard deviation, pixels of the working size.
FLOOR = 0.1
# Standard deviation of keypoints that were not found, pixels of the working size: more than the
# matcher's, which err alike.
UNFOUND_SIGMA = 4.0
# Of the numeric derivative by the depth, relative.
DEPTH_STEP = 1e-4
# Patches whose sides would change by more than this factor are seen too differently.
MAX_CHANGE_OF_SCALE = 3.0


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
    factor = max_size / max(image.shape)
    if factor >= 1:
        return image
    size = round(image.shape[1] * factor), round(image.shape[0] * factor)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


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


class Aligner:
    """Aligns matches with references of a map that holds their images."""

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
    depth = reference.camera_from_map.apply(matches.points3d)[:, 2:]

    def seen(step: tuple[float, float], deeper: float = 0.0) -> NDArray[np.float64]:
        """Return where the image shows points beside those of the matches, or behind them."""
        # A surface is taken to face the reference's camera. How it really lies hardly matters to
        # patches of this size, and is not known well.
        rays = reference.camera.rays(matches.reference_keypoints + np.array(step) / first.scale)
        in_map = reference.camera_from_map.inverse().apply(rays * depth * (1 + deeper))
        return camera.project(camera_from_map.apply(in_map)) * second.scale

    middle = seen((0.0, 0.0))
    warps = np.stack([seen((1.0, 0.0)) - middle, seen((0.0, 1.0)) - middle], axis=-1)
    with np.errstate(invalid="ignore"):
        change = np.sqrt(np.abs(np.linalg.det(warps)))
        alike = (change < MAX_CHANGE_OF_SCALE) & (change > 1 / MAX_CHANGE_OF_SCALE)
    # Of NaN no patch is found.
    warps[~alike] = np.nan
    start = matches.keypoints * second.scale
    patches = align_patches(
        first.pixels, second.pixels, matches.reference_keypoints * first.scale, start, warps
    )
    shift = np.linalg.norm(patches.keypoints - start, axis=1)
    found = (patches.correlation > MIN_CORRELATION) & (shift < MAX_SHIFT)
    covariance = np.where(
        found[:, None, None],
        PIXELS_ALIKE * patches.covariance + FLOOR**2 * np.eye(2),
        UNFOUND_SIGMA**2 * np.eye(2),
    )
    if matches.depth_sigma is not None:
        # Where a point of uncertain depth is seen is uncertain along its epipolar line.
        sigma = np.nan_to_num(matches.depth_sigma, nan=1.0).clip(max=1.0)
        along = (seen((0.0, 0.0), DEPTH_STEP) - middle) / DEPTH_STEP * sigma[:, None]
        covariance += along[:, :, None] * along[:, None, :]
    keypoints = np.where(found[:, None], patches.keypoints / second.scale, matches.keypoints)
    return AlignedMatches(
        replace(matches, keypoints=keypoints),
        covariance / (second.scale[:, None] * second.scale[None, :]),
        found,
        patches.gain,
    )

"""Matches aligned with pixels on a CUDA device: all patches of a query at once, one download.

Where patches are expected follows from camera models, which the host evaluates; what comes back are
a few numbers a patch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.cuda.features import FeaturesOnDevice
from deviloc_ros.localization.cuda.lucas_kanade import (
    ASKED_SIZE,
    CORRELATION,
    COVARIANCE,
    GAIN,
    KEYPOINT,
    MIDDLE,
    PLACE,
    START,
    WARP,
    PatchSearch,
)
from deviloc_ros.localization.cuda.places import num_places
from deviloc_ros.localization.cuda.resampling import resampling_matrix
from deviloc_ros.localization.cuda.stored_images import StoredImages
from deviloc_ros.localization.photometric.aligner import ToAlign, reduced_size, sampled
from deviloc_ros.localization.photometric.expectation import (
    Expected,
    accepted,
    expected_patches,
    joined,
)
from deviloc_ros.localization.photometric.lucas_kanade import SMOOTHING, AlignedPatches
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.types import Correspondences, Query
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import Recorded, upload

# Image sizes whose matrices are kept: more than graphs are.
_SIZES_KEPT = 16
# OpenCV smooths 8-bit images by whole weights, of so many.
_WEIGHTS = 256
_TAPS = 7


@dataclass(frozen=True)
class _Enqueued:
    """A query whose patches the device looks for.

    Attributes:
        matches: those that are aligned, ordered by reference.
        back: (N,), from that order to the one that was given.
        scale: (2,), pixels of the query's working size per pixel of the original.
        expected: of the matches.
        found: (N, 8), on the device, see PatchSearch.
    """

    matches: Correspondences
    back: NDArray[np.int64]
    scale: NDArray[np.float64]
    expected: Expected
    found: Tensor


class CudaAligner:
    """Does what Aligner does, with images of references and queries on a device."""

    def __init__(self, reference_map: Map, config: LocalizerConfig, device: torch.device) -> None:
        """Make room for the images.

        Raises:
            InputError: `cuda.memory_mb` is too small.
        """
        self._map = reference_map
        self._device = device
        self._max_size = config.features.max_size
        self._num_matches = config.alignment.num_matches
        places = num_places(reference_map, config)
        self.images = StoredImages(reference_map, device, places, self._max_size)
        self._search = PatchSearch(device)
        self._found = Recorded(self._in_pixels, config.cuda.graphs, device)
        self._matrices: LRUCache[tuple[int, int], tuple[Tensor, ...]] = LRUCache(_SIZES_KEPT)
        # Poses are estimated in several threads; places and graphs are for one at a time.
        self._in_use = threading.Lock()

    def __call__(
        self, query: Query, camera_from_map: Transform, matches: Correspondences
    ) -> AlignedMatches:
        """Find the keypoints of matches in the pixels of the query; see Aligner."""
        return self.of_several([(query, camera_from_map, matches)])[0]

    def of_several(self, asked: Sequence[ToAlign]) -> list[AlignedMatches]:
        """Align matches of several queries, with one download; see Align."""
        with self._in_use, torch.inference_mode():
            enqueued = [self._enqueued(*each) for each in asked]
        found = torch.cat([each.found for each in enqueued]).cpu().numpy()
        ends = np.cumsum([len(each.matches) for each in enqueued])
        return [
            _accepted(each, part)
            for each, part in zip(enqueued, np.split(found, ends[:-1]), strict=True)
        ]

    def warm_up(self) -> None:
        """Upload the images, and record the search in a query of the map's first image's size.

        The images of a map of tiles come when they are used.
        """
        camera = self._map.references[0].camera
        nowhere = np.full((self._num_matches, ASKED_SIZE), np.nan)
        with self._in_use, torch.inference_mode():
            if type(self._map) is Map:
                self.images.preload()
            pixels = upload(np.zeros((camera.height, camera.width), np.uint8), self._device)
            self._matrices_of(*pixels.shape)
            self._found(pixels, upload(nowhere, self._device))

    def _enqueued(
        self, query: Query, camera_from_map: Transform, matches: Correspondences
    ) -> _Enqueued:
        """Have the device look for the patches of a query."""
        if query.image is None:
            raise ValueError("matches are aligned by the query's image, not only by its features")
        matches = sampled(matches, self._num_matches)
        order = np.argsort(matches.reference, kind="stable")
        matches = matches.select(order)
        size = reduced_size(query.image.shape, self._max_size)
        scale = np.array(size[::-1]) / (query.camera.width, query.camera.height)
        references, begin = np.unique(matches.reference, return_index=True)
        ends = [*begin[1:], len(matches)]
        expected, found = [], []
        for first in range(0, len(references), self.images.places):
            part = slice(first, first + self.images.places)
            asked = np.full((self._num_matches, ASKED_SIZE), np.nan)
            places = self.images.places_of(references[part])
            of_part = zip(references[part], places, begin[part], ends[part], strict=True)
            for index, place, start, end in of_part:
                patches = expected_patches(
                    self._map.references[index], self.images.scale_of(index), query.camera, scale,
                    camera_from_map, matches.select(np.arange(start, end)),
                )  # fmt: skip
                expected.append(patches)
                rows = asked[start - begin[first] : end - begin[first]]
                rows[:, MIDDLE], rows[:, START] = patches.middles, patches.start
                rows[:, WARP], rows[:, PLACE] = patches.warps.reshape(-1, 4), place
            pixels = self._pixels(query)
            self._matrices_of(*pixels.shape)  # not while a graph is recorded
            (every,) = self._found(pixels, upload(asked, self._device))
            found.append(every[: ends[part][-1] - begin[first]])
        nothing = torch.zeros(0, GAIN + 1, dtype=torch.float64, device=self._device)
        return _Enqueued(
            matches, np.argsort(order), scale, joined(expected), torch.cat([*found, nothing])
        )

    def _pixels(self, query: Query) -> Tensor:
        """Return the query's image (H, W) uint8 on the device, where its features were found."""
        if isinstance(query.features, FeaturesOnDevice):
            return query.features.pixels
        return upload(np.ascontiguousarray(query.image), self._device)

    def _in_pixels(self, pixels: Tensor, asked: Tensor) -> tuple[Tensor]:
        """Look for patches in an image (H, W) uint8."""
        image = pixels.float()
        *reducing, smooth_rows, smooth_columns = self._matrices_of(*pixels.shape)
        if reducing:
            # OpenCV rounds halves up where it halves an image, and here where it smooths one.
            image = (reducing[0] @ image @ reducing[1] + 0.5).floor_()
        # Sums of whole numbers, exact in float32.
        image = (smooth_rows @ image @ smooth_columns / _WEIGHTS**2 + 0.5).floor_()
        return (self._search(self.images.pixels, self.images.sizes, image.double(), asked),)

    def _matrices_of(self, height: int, width: int) -> tuple[Tensor, ...]:
        """Return what images of a size are reduced by, if they are, and what smooths them."""
        known = self._matrices.get((height, width))
        if known is not None:
            return known
        high, wide = reduced_size((height, width), self._max_size)
        matrices = []
        if (high, wide) != (height, width):
            matrices = [
                resampling_matrix(height, high, shrinks=True),
                np.ascontiguousarray(resampling_matrix(width, wide, shrinks=True).T),
            ]
        matrices += [smoothing_matrix(high), np.ascontiguousarray(smoothing_matrix(wide).T)]
        made = tuple(upload(each, self._device) for each in matrices)
        self._matrices[height, width] = made
        return made


def smoothing_matrix(size: int) -> NDArray[np.float32]:
    """Return what one side of an 8-bit image is smoothed by, (size, size), of whole numbers."""
    kernel = np.rint(_WEIGHTS * cv2.getGaussianKernel(_TAPS, SMOOTHING)).ravel()
    result = np.zeros((size, size), np.float32)
    rows = np.arange(size)
    for step, weight in enumerate(kernel, -(_TAPS // 2)):
        # Beyond its edge an image goes on as its mirror image does.
        beyond = np.abs(rows + step)
        np.add.at(result, (rows, np.minimum(beyond, 2 * (size - 1) - beyond)), weight)
    return result


def _accepted(enqueued: _Enqueued, found: NDArray[np.float64]) -> AlignedMatches:
    """Return what the device found for a query, as the matches were ordered."""
    patches = AlignedPatches(
        found[:, KEYPOINT], found[:, COVARIANCE].reshape(-1, 2, 2), found[:, CORRELATION],
        found[:, GAIN],
    )  # fmt: skip
    result = accepted(enqueued.matches, enqueued.expected, patches, enqueued.scale)
    return result.select(enqueued.back)

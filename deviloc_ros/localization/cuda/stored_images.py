"""Images of references on the device, smoothed as alignment wants them; see stored_references."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.localization.cuda.places import Places, image_size
from deviloc_ros.localization.photometric.aligner import AlignableImage
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import upload

# Images decoded and uploaded at once.
UPLOADED_AT_ONCE = 32


class StoredImages:
    """Images of the working size in places of equal size.

    Attributes:
        pixels: (P, H, W) uint8, gray, of places; what is beyond an image is 0.
        sizes: (P, 2) float64, width and height of each.
    """

    def __init__(
        self, reference_map: Map, device: torch.device, places: int, max_size: int
    ) -> None:
        """Make the places, still empty.

        Args:
            reference_map: the map, which holds images.
            device: where they are.
            places: so many.
            max_size: longer side of a larger image's working size, pixels.
        """
        self._map = reference_map
        self._device = device
        self._max_size = max_size
        self._places = Places(places)
        self._pool = ThreadPoolExecutor(torch.get_num_threads(), "images")
        self._scales: dict[int, NDArray[np.float64]] = {}
        size = image_size(reference_map, max_size)
        self.pixels = torch.zeros(places, *size, dtype=torch.uint8, device=device)
        self.sizes = torch.zeros(places, 2, dtype=torch.float64, device=device)

    @property
    def places(self) -> int:
        """Number of images that fit, P."""
        return self._places.count

    def preload(self) -> None:
        """Upload the first images of the map, as many as fit."""
        for first in range(0, self.places, UPLOADED_AT_ONCE):
            self.places_of(np.arange(first, min(first + UPLOADED_AT_ONCE, self.places)))

    def places_of(self, references: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places (K,) of references; decode and upload those that have none.

        Args:
            references: indices (K,), different ones, not more than there are places.

        Raises:
            InputError: an image is damaged.
            DamagedMapError: a tile with one of them cannot be read.
        """
        missing = self._places.missing(references)
        if missing:
            self._store(missing)
        return self._places.of(references)

    def scale_of(self, reference: int) -> NDArray[np.float64]:
        """Return the pixels (2,) of a reference's image per pixel of the original."""
        return self._scales[reference]

    def _store(self, missing: list[int]) -> None:
        images = list(self._pool.map(self._decoded, missing))
        height, width = self.pixels.shape[1:]
        padded = np.zeros((len(images), height, width), np.uint8)
        sizes = np.zeros((len(images), 2))
        for index, image, row, size in zip(missing, images, padded, sizes, strict=True):
            high, wide = image.pixels.shape
            if high > height or wide > width:
                name = self._map.references[index].name
                raise InputError(
                    f"{self._map.source}: {name}: the image has {wide} x {high} pixels, its camera "
                    f"is reduced to less than {width} x {height}; build the map again"
                )
            row[:high, :wide] = image.pixels
            size[:] = wide, high
            self._scales[index] = image.scale
        rows = upload(self._places.take(missing), self._device)
        with torch.inference_mode():
            self.pixels.index_copy_(0, rows, upload(padded, self._device))
            self.sizes.index_copy_(0, rows, upload(sizes, self._device))

    def _decoded(self, index: int) -> AlignableImage:
        camera = self._map.references[index].camera
        return AlignableImage.of(self._map.image_of(index), camera, self._max_size)

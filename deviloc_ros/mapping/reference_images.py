"""The reference images that matcher topicfm needs, as its network sees them, without loss."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from deviloc_ros.images import read_gray
from deviloc_ros.mapping.map import Map
from deviloc_ros.models.published.preprocessing import network_image


def store_images(reference_map: Map, folder: Path, image_size: int) -> Map:
    """Return the map with its images reduced to `image_size`, the size they usually are used at.

    A query smaller than that makes the network take smaller references too. They are then reduced
    a second time, where the published code reduces the original; build a map for such a camera
    with its own `topicfm.image_size`.

    Args:
        reference_map: the map.
        folder: where its images lie.
        image_size: longest side of a stored image, pixels.

    Raises:
        InputError: an image cannot be read any more.
    """
    parts = []
    for reference in tqdm(reference_map.references, desc="images", unit="image", disable=None):
        reduced, _ = network_image(read_gray(folder / reference.name), image_size)
        parts.append(cv2.imencode(".png", reduced)[1].ravel())
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return reference_map.with_images(image_size, offsets, np.concatenate(parts))

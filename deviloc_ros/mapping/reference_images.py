"""The reference images that a map holds, reduced."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.images import read_gray
from deviloc_ros.localization.photometric.aligner import reduced_to
from deviloc_ros.maps.map import Map
from deviloc_ros.models.published.preprocessing import network_image

JPEG_QUALITY = 92


def store_images(reference_map: Map, folder: Path, config: LocalizerConfig) -> Map:
    """Return the map with its images.

    Matches are aligned by them (localization/alignment.py); they are of the working size
    (`features.max_size`), as JPEG. For matcher topicfm they are as its network sees them, without
    loss, reduced to `topicfm.image_size`, the size they usually are used at. A query smaller than
    that makes the network take smaller references too. They are then reduced a second time, where
    the published code reduces the original; build a map for such a camera with its own
    `topicfm.image_size`.

    Args:
        reference_map: the map.
        folder: where its images lie.
        config: the localizer that the map is for.

    Raises:
        InputError: an image cannot be read any more.
    """
    for_topicfm = config.matching.matcher == "topicfm"
    parts = []
    for reference in tqdm(reference_map.references, desc="images", unit="image", disable=None):
        image = read_gray(folder / reference.name)
        if for_topicfm:
            parts.append(_encoded(network_image(image, config.topicfm.image_size)[0], ".png"))
        else:
            parts.append(_encoded(reduced_to(image, config.features.max_size), ".jpg"))
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    size = config.topicfm.image_size if for_topicfm else None
    return reference_map.with_images(size, offsets, np.concatenate(parts))


def _encoded(image: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == ".jpg" else []
    return np.asarray(cv2.imencode(kind, image, quality)[1], dtype=np.uint8).ravel()

"""A map as it would be had one of its images not been there.

An image that is to be localized as if a robot had taken it must have had no part in the depths of
the references it is localized against: it would be localized better than a robot is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.mapping.multiview.depth_fusion import FusedDepths
from deviloc_ros.maps.map import Map


class LeftOut:
    """The depths of references without what one image, or another, says of them."""

    def __init__(self, images: Iterable[int] = ()) -> None:
        """Be ready for these images; any other is taken to have had no part in depths."""
        self._depths: dict[int, dict[int, FusedDepths]] = {int(image): {} for image in images}

    def among(self, neighbours: NDArray[np.int64]) -> list[int]:
        """Return which of a reference's neighbours it is for."""
        return [int(image) for image in neighbours if image in self._depths]

    def add(self, image: int, reference: int, depths: FusedDepths) -> None:
        """Take the depths of a reference without an image."""
        self._depths[image][reference] = depths

    def maps(self, reference_map: Map, images: Iterable[int]) -> Iterator[tuple[int, Map]]:
        """Yield each of the images, and the map without what it says of depths.

        A map is good until the next one is asked for: they share their arrays. The image itself is
        still in it.
        """
        edited = replace(
            reference_map,
            feature_points=np.array(reference_map.feature_points),
            confidence=np.array(reference_map.confidence),
            depth_sigma=None
            if reference_map.depth_sigma is None
            else np.array(reference_map.depth_sigma),
        )
        for image in images:
            depths = self._depths.get(int(image), {})
            for index, without in depths.items():
                _write(edited, index, without)
            yield int(image), edited
            for index in depths:
                _write(edited, index, _depths_of(reference_map, index))


def _depths_of(reference_map: Map, index: int) -> FusedDepths:
    rows = reference_map.features_of(index)
    assert reference_map.depth_sigma is not None
    return FusedDepths(
        reference_map.feature_points[rows],
        reference_map.confidence[rows],
        reference_map.depth_sigma[rows],
        0,
    )


def _write(edited: Map, index: int, depths: FusedDepths) -> None:
    rows = edited.features_of(index)
    assert edited.depth_sigma is not None
    edited.feature_points[rows] = depths.points
    edited.confidence[rows] = depths.confidence
    edited.depth_sigma[rows] = depths.sigma

"""A map as it would be had one of its images not been there.

An image that is to be localized as if a robot had taken it must have had no part in the depths of
the references it is localized against: it would be localized better than a robot is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
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

    def of(self, image: int) -> Mapping[int, FusedDepths]:
        """Return the depths of references, by index, that an image had a part in, without it."""
        return self._depths.get(int(image), {})


class EditableMap:
    """A map whose depths can be replaced for a while."""

    def __init__(self, reference_map: Map) -> None:
        """Copy the arrays that are edited."""
        self._original = reference_map
        self._edited = replace(
            reference_map,
            feature_points=np.array(reference_map.feature_points),
            confidence=np.array(reference_map.confidence),
            depth_sigma=None
            if reference_map.depth_sigma is None
            else np.array(reference_map.depth_sigma),
        )

    @contextmanager
    def with_depths(self, depths: Mapping[int, FusedDepths]) -> Iterator[Map]:
        """Lend the map with other depths of references, by index; it is good until the end."""
        for index, without in depths.items():
            _write(self._edited, index, without)
        try:
            yield self._edited
        finally:
            for index in depths:
                _write(self._edited, index, _depths_of(self._original, index))


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

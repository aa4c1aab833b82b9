"""Cuts a map into smaller ones, in the same frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.maps.map import Map, offsets_of


def cut_map(whole: Map, size: float) -> Sequence[Map]:
    """Cut a map along its longest axis, then each part again, until none is longer than `size`.

    Every reference is in one part; SfM points are in each part that observes them.

    Args:
        whole: the map.
        size: longest side of the box of a part's cameras, map units.
    """
    centres, _ = whole.viewpoints
    return [
        select(whole, part)
        for part in _parts(np.arange(len(centres), dtype=np.int64), centres, size)
    ]


def select(whole: Map, references: NDArray[np.int64]) -> Map:
    """Return the map of some of the references (K,), ascending, and of what they observe."""
    features = np.concatenate([_rows(whole.feature_offsets, i) for i in references])
    observations = np.concatenate([_rows(whole.observation_offsets, i) for i in references])
    points, renumbered = np.unique(whole.observation_points[observations], return_inverse=True)
    part = replace(
        whole,
        references=[whole.references[i] for i in references],
        feature_offsets=offsets_of(np.diff(whole.feature_offsets)[references]),
        keypoints=whole.keypoints[features],
        descriptors=whole.descriptors[features],
        levels=whole.levels[features],
        feature_points=whole.feature_points[features],
        confidence=whole.confidence[features],
        depth_sigma=None if whole.depth_sigma is None else whole.depth_sigma[features],
        global_descriptors=whole.global_descriptors[references],
        point_array=whole.point_array[points],
        observation_offsets=offsets_of(np.diff(whole.observation_offsets)[references]),
        observation_points=renumbered.astype(np.int32),
        observation_pixels=whole.observation_pixels[observations],
        unregistered={},
    )
    if whole.image_offsets is None or whole.image_bytes is None:
        return part
    images = np.concatenate([_rows(whole.image_offsets, i) for i in references])
    offsets = offsets_of(np.diff(whole.image_offsets)[references])
    return part.with_images(whole.image_size, offsets, whole.image_bytes[images])


def _parts(
    references: NDArray[np.int64], centres: NDArray[np.float64], size: float
) -> Sequence[NDArray[np.int64]]:
    extent = np.ptp(centres[references], axis=0)
    axis = int(np.argmax(extent))
    if extent[axis] <= size:
        return [references]
    along = centres[references, axis]
    low = along <= (along.min() + along.max()) / 2
    return [*_parts(references[low], centres, size), *_parts(references[~low], centres, size)]


def _rows(offsets: NDArray[np.int64], index: int) -> NDArray[np.int64]:
    return np.arange(offsets[index], offsets[index + 1])

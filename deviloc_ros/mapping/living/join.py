"""Two maps in one frame become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros.localization.retrieval.global_descriptor import describe_reference
from deviloc_ros.maps.descriptor_codes import encoded
from deviloc_ros.maps.map import Map, offsets_of
from deviloc_ros.maps.reference import Reference


@dataclass(frozen=True)
class Sightings:
    """SfM points of one map that references of the other see: by index of the reference.

    Attributes:
        points: (M,) int32 each, indices of the points in their map.
        pixels: (M, 2) each, where.
    """

    points: Mapping[int, NDArray[np.int32]] = field(default_factory=dict)
    pixels: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)


NOTHING = Sightings()


def described_by(second: Map, codebook: NDArray[np.float32]) -> Map:
    """Return a map with its global descriptors made anew, over other words."""
    words = torch.from_numpy(np.array(codebook))
    described = [
        describe_reference(second, index, words)
        for index in tqdm(range(len(second.references)), desc="describing", disable=None)
    ]
    return replace(second, codebook=codebook, global_descriptors=np.stack(described))


def join(
    first: Map,
    second: Map,
    first_in_second: Sightings = NOTHING,
    second_in_first: Sightings = NOTHING,
) -> Map:
    """Return the map of the references, features and points of both, those of the first in front.

    Frame, codebook, calibration and origin are those of the first.

    Args:
        first: a map.
        second: another one in the same frame, described over the same codebook; its names differ.
        first_in_second: what references of the second see of the first's points.
        second_in_first: the reverse.
    """
    shift = second.origin - first.origin
    moved = np.asarray(second.feature_points, dtype=np.float64) + shift
    points = np.asarray(second.point_array, dtype=np.float64) + shift
    count = len(first.point_array)
    seen, pixels, lengths = [], [], []
    for whole, own_shift, more, more_shift in (
        (first, 0, second_in_first, count),
        (second, count, first_in_second, 0),
    ):
        for index in range(len(whole.references)):
            rows = whole.observations_of(index)
            own = np.asarray(whole.observation_points[rows], dtype=np.int64) + own_shift
            extra = np.asarray(more.points.get(index, ()), dtype=np.int64) + more_shift
            seen.append(np.concatenate([own, extra]))
            at = np.asarray(more.pixels.get(index, ()), dtype=np.float32).reshape(-1, 2)
            pixels.append(np.concatenate([whole.observation_pixels[rows], at]))
            lengths.append(len(seen[-1]))

    def both(name: str) -> Any:
        return np.concatenate([getattr(first, name), getattr(second, name)])

    joined = replace(
        first,
        references=[*first.references, *second.references],
        feature_offsets=_appended(first.feature_offsets, second.feature_offsets),
        keypoints=both("keypoints"),
        descriptors=np.concatenate([_stored(first.descriptors), _stored(second.descriptors)]),
        levels=both("levels"),
        feature_points=np.concatenate([first.feature_points, moved.astype(np.float32)]),
        confidence=both("confidence"),
        depth_sigma=None if first.depth_sigma is None else both("depth_sigma"),
        global_descriptors=both("global_descriptors"),
        point_array=np.concatenate([first.point_array, points.astype(np.float32)]),
        observation_offsets=offsets_of(lengths),
        observation_points=np.concatenate(seen).astype(np.int32),
        observation_pixels=np.concatenate(pixels).astype(np.float32),
        unregistered={**first.unregistered, **second.unregistered},
        file=None,
    )
    if first.image_offsets is None or second.image_offsets is None:
        return joined
    images = _appended(first.image_offsets, second.image_offsets)
    return joined.with_images(first.image_size, images, both("image_bytes"))


def renamed(second: Map, taken: set[str], folder: str) -> Map:
    """Return a map whose names differ from those taken: below a folder where one would not."""
    if not taken & {reference.name for reference in second.references}:
        return second
    folder = free_name(folder, {name.partition("/")[0] for name in taken})

    def moved(reference: Reference) -> Reference:
        return replace(reference, name=f"{folder}/{reference.name}")

    return replace(
        second,
        references=[moved(reference) for reference in second.references],
        unregistered={f"{folder}/{name}": why for name, why in second.unregistered.items()},
    )


def free_name(wanted: str, taken: set[str]) -> str:
    """Return a name that is not taken: the wanted one, or that with a number."""
    names = [wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def _stored(descriptors: NDArray[Any]) -> NDArray[np.int8]:
    """Return descriptors as maps store them today; older maps hold floats."""
    if descriptors.dtype == np.int8:
        return descriptors
    floats = torch.from_numpy(np.array(descriptors)).float()
    return np.asarray(encoded(floats).numpy(), dtype=np.int8)


def _appended(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    return offsets_of(np.concatenate([np.diff(first), np.diff(second)]))

"""How well a map can be expected to localize along the way on which its images were taken.

The way is cut into stretches. Images of the map are localized in it without themselves and without
the images most like them, as a robot's would be.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.mapping.living.own_check import OwnImages, localize_own_images
from deviloc_ros.mapping.self_calibration import spread
from deviloc_ros.maps.map import Map

MAX_TRIED = 60
MAX_STRETCHES = 20
MIN_MOMENTS = 3
# An image that sees fewer points of the map, or shares fewer with the next one, is on thin ice.
THIN_POINTS, THIN_SHARED = 60, 20


class Coverage(enum.Enum):
    """What can be expected of a stretch."""

    GOOD = "good"
    THIN = "thin: few points or ties"
    POOR = "poor: images of it were not all localized"


@dataclass(frozen=True)
class Stretch:
    """A part of the way.

    Attributes:
        begin: of it, map units from the first image.
        end: of it.
        moments: (first, last + 1) of the moments on it.
        num_images: of the map on it.
        num_missing: images that are not in the map, whose names lie between those of the stretch.
        points: SfM points that an image sees (median).
        shared: of these, how many the next image along the way sees too (least).
        num_tried: images that were localized without themselves.
        num_found: of them, with success.
        error: median error of position, map units; NaN where nothing was found.
        turn: median error of rotation, degrees.
    """

    begin: float
    end: float
    moments: tuple[int, int]
    num_images: int
    num_missing: int
    points: float
    shared: float
    num_tried: int
    num_found: int
    error: float
    turn: float

    @property
    def coverage(self) -> Coverage:
        """What can be expected of it."""
        if self.num_found < self.num_tried:
            return Coverage.POOR
        thin = self.points < THIN_POINTS or self.shared < THIN_SHARED
        return Coverage.THIN if thin else Coverage.GOOD


@dataclass(frozen=True)
class Way:
    """Images of a map in the order in which they were taken.

    Attributes:
        moments: indices of the references of each moment: one, or those of a rig.
        centres: (M, 3) float64, mean position of its cameras, map units.
        along: (M,) float64, way until there, map units.
        points: (M,) float64, SfM points that an image of it sees (mean).
        shared: (M - 1,) int64, most points that images of it share with one of the next moment.
        own: images that were localized without themselves.
        stretches: parts of the way.
    """

    moments: Sequence[Sequence[int]]
    centres: NDArray[np.float64]
    along: NDArray[np.float64]
    points: NDArray[np.float64]
    shared: NDArray[np.int64]
    own: OwnImages
    stretches: Sequence[Stretch]


def examine(reference_map: Map, config: LocalizerConfig, is_rig: bool) -> Way:
    """Look at a map along the way of its images.

    Args:
        reference_map: names of images tell the order.
        config: of the localizer.
        is_rig: images of one name in different folders are of one moment.
    """
    moments = _moments(reference_map, is_rig)
    centres = np.array(
        [np.mean([_centre(reference_map, i) for i in moment], axis=0) for moment in moments]
    )
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    observed = np.diff(reference_map.observation_offsets).astype(np.float64)
    points = np.array([observed[list(moment)].mean() for moment in moments])
    shared = np.array(
        [
            max(int(reference_map.shared_points_with(i)[list(after)].max()) for i in before)
            for before, after in itertools.pairwise(moments)
        ],
        dtype=np.int64,
    )
    in_order = np.array([moment[0] for moment in moments], dtype=np.int64)
    tried = in_order[spread(len(in_order), MAX_TRIED)]
    own = localize_own_images(reference_map, tried, config, reference_map)
    way = Way(moments, centres, along, points, shared, own, ())
    count = max(1, min(MAX_STRETCHES, len(moments) // MIN_MOMENTS))
    cuts = [int(cut) for cut in np.linspace(0, len(moments), count + 1).round()]
    stretches = [
        _stretch(reference_map, way, begin, end, is_rig) for begin, end in itertools.pairwise(cuts)
    ]
    return Way(moments, centres, along, points, shared, own, stretches)


def _stretch(reference_map: Map, way: Way, begin: int, end: int, is_rig: bool) -> Stretch:
    images = [i for moment in way.moments[begin:end] for i in moment]
    names = [_order(reference_map.references[i].name, is_rig) for i in images]
    after = way.moments[end : end + 1]
    last = _order(reference_map.references[after[0][0]].name, is_rig) if after else None
    missing = [_order(name, is_rig) for name in reference_map.unregistered]
    inside = [
        name for name in missing if (begin == 0 or name >= names[0]) and (not last or name < last)
    ]
    of_stretch = np.isin(way.own.indices, [moment[0] for moment in way.moments[begin:end]])
    found = of_stretch & way.own.found
    error, turn = way.own.median(found)
    ties = way.shared[begin : max(begin + 1, end - 1)]
    return Stretch(
        begin=float(way.along[begin]),
        end=float(way.along[end - 1]),
        moments=(begin, end),
        num_images=len(images),
        num_missing=len(inside),
        points=float(np.median(way.points[begin:end])),
        shared=float(ties.min()) if len(ties) else float(way.points[begin]),
        num_tried=int(of_stretch.sum()),
        num_found=int(found.sum()),
        error=error,
        turn=turn,
    )


def _moments(reference_map: Map, is_rig: bool) -> list[list[int]]:
    by_order: dict[str, list[int]] = {}
    for index, reference in enumerate(reference_map.references):
        by_order.setdefault(_order(reference.name, is_rig), []).append(index)
    return [by_order[name] for name in sorted(by_order)]


def _order(name: str, is_rig: bool) -> str:
    return name.partition("/")[2] if is_rig else name


def _centre(reference_map: Map, index: int) -> NDArray[np.float64]:
    return reference_map.references[index].camera_from_map.inverse().translation

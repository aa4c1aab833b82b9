"""Drop references of a map that others can replace."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.mapping.covariance_calibration import error_of_own, localize_own
from deviloc_ros.mapping.cut import select
from deviloc_ros.mapping.living.extend import config_of
from deviloc_ros.mapping.living.own_check import Comparison, OwnImages
from deviloc_ros.mapping.self_calibration import spread
from deviloc_ros.maps.map import Map

MAX_TRIED = 40
# Distances whose ratio is at most this are one scale.
SCALE_STEP = 1.5
MIN_LEFT = 3


@dataclass(frozen=True)
class PruneSummary:
    """What came of it.

    Attributes:
        map: the smaller map.
        num_before: images that there were.
        cost: dropped images, each localized without itself in the map before and after.
    """

    map: Map
    num_before: int
    cost: Comparison


@dataclass(frozen=True)
class PruneOptions:
    """How far to prune.

    Attributes:
        num_images: images that are to be left, or None.
        target_bytes: size that the map file is to have at most, or None.
        usage: how often runs used a reference, by its name.
        config: of the localizer that tells the cost.
    """

    num_images: int | None = None
    target_bytes: int | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    config: LocalizerConfig = field(default_factory=LocalizerConfig)


def prune_map(map_path: Path, output: Path, options: PruneOptions) -> PruneSummary:
    """Write a map of fewer references.

    Args:
        map_path: the map.
        output: the map file to write.
        options: see PruneOptions.

    Raises:
        InputError: the map cannot be read, or is no larger than it is to become.
    """
    whole = Map.load(map_path)
    config = config_of(whole, options.config)
    order = dropping_order(whole, options.usage)
    kept = _kept(whole, order, map_path, options)
    smaller = select(whole, kept)
    dropped = np.setdiff1d(np.arange(len(whole.references)), kept)
    cost = _cost(whole, kept, dropped[spread(len(dropped), MAX_TRIED)], config)
    history = {"images": len(kept), "of": len(whole.references)}
    smaller = smaller.with_meta({"pruned": [*whole.meta.get("pruned", []), history]})
    smaller.save(output)
    return PruneSummary(smaller, len(whole.references), cost)


def dropping_order(whole: Map, usage: Mapping[str, int]) -> NDArray[np.int64]:
    """Return all references, those that others can replace best first.

    A point that c references of one look see at one scale is worth 1 + 1/2 + ... + 1/c: dropping
    one of them costs 1/c. Who sees a point from afar cannot replace who sees it from nearby. The
    reference that costs least goes, then the next one, with the costs that are then. Use by
    localization runs makes a reference dearer: twice as dear at the mean of all.

    Args:
        whole: the map.
        usage: how often a reference was used, by name.
    """
    count = len(whole.references)
    sees = _seen(whole)
    observers = np.asarray(sees.sum(axis=0)).ravel().astype(np.float64)
    uses = np.array([usage.get(r.name, 0) for r in whole.references], dtype=np.float64)
    factor = 1.0 + uses / max(uses.mean(), 1e-9) if uses.any() else np.ones(count)
    points = [sees.indices[sees.indptr[i] : sees.indptr[i + 1]] for i in range(count)]

    def cost(index: int) -> float:
        return float(factor[index] * (1.0 / observers[points[index]]).sum())

    queue = [(cost(index), index) for index in range(count)]
    heapq.heapify(queue)
    order: list[int] = []
    alive = np.ones(count, dtype=np.bool_)
    while queue:
        was, index = heapq.heappop(queue)
        if not alive[index]:
            continue
        now = cost(index)
        if now > was:  # costs only grow: whoever is cheapest by what it costs now goes first
            heapq.heappush(queue, (now, index))
            continue
        alive[index] = False
        order.append(index)
        observers[points[index]] -= 1.0
    return np.array(order, dtype=np.int64)


def _seen(whole: Map) -> Any:
    """Return which reference (row) sees which point at which scale in which look: sparse, int32."""
    looks = sorted({reference.look for reference in whole.references})
    look_of = np.array([looks.index(r.look) for r in whole.references], dtype=np.int64)
    offsets = np.asarray(whole.observation_offsets)
    rows = np.repeat(np.arange(len(whole.references)), np.diff(offsets))
    points = np.asarray(whole.observation_points, dtype=np.int64)
    apart = whole.points3d[points] - whole.viewpoints[0][rows]
    distance = np.maximum(np.linalg.norm(apart, axis=1), 1e-9)
    scale = np.floor(np.log(distance) / np.log(SCALE_STEP)).astype(np.int64)
    scale -= scale.min(initial=0)
    # One number each: sorting those is many times faster than sorting rows.
    seen = (points * len(looks) + look_of[rows]) * (scale.max(initial=0) + 1) + scale
    different, columns = np.unique(seen, return_inverse=True)
    found = scipy.sparse.coo_array(
        (np.ones(len(rows), dtype=np.int32), (rows, columns)),
        shape=(len(whole.references), len(different)),
    ).tocsr()
    found.data[:] = 1  # a point that is observed twice in an image is one
    return found


def _kept(
    whole: Map, order: NDArray[np.int64], path: Path, options: PruneOptions
) -> NDArray[np.int64]:
    """Return which references stay, ascending.

    Raises:
        InputError: all would, or too few.
    """
    count = len(order)
    if options.num_images is not None:
        left = options.num_images
        if left >= count:
            raise InputError(f"{path}: has {count} images, no more than the {left} to be left")
    else:
        assert options.target_bytes is not None
        size = path.stat().st_size
        if options.target_bytes >= size:
            raise InputError(
                f"{path}: has {size / 1e6:.1f} MB, no more than the "
                f"{options.target_bytes / 1e6:g} MB it is to have"
            )
        # From the most needed reference on, as long as they fit.
        sizes = _sizes(whole, size)[order[::-1]]
        left = int(np.searchsorted(np.cumsum(sizes), options.target_bytes, side="right"))
    if left < MIN_LEFT:
        raise InputError(f"{path}: {left} images would be left, at least {MIN_LEFT} are needed")
    return np.sort(order[count - left :])


def _sizes(whole: Map, size: int) -> NDArray[np.float64]:
    """Return the bytes (R,) of each reference: its features and image, and a part of the rest."""
    rows = np.diff(whole.feature_offsets).astype(np.float64)
    per_feature = sum(
        array.dtype.itemsize * int(np.prod(array.shape[1:]))
        for name in ("keypoints", "descriptors", "levels", "feature_points", "confidence")
        for array in (getattr(whole, name),)
    )
    own = rows * per_feature
    if whole.image_offsets is not None:
        own = own + np.diff(whole.image_offsets)
    return np.asarray(own + max(0.0, size - float(own.sum())) / len(own))


def _cost(
    whole: Map, kept: NDArray[np.int64], tried: NDArray[np.int64], config: LocalizerConfig
) -> Comparison:
    """Localize dropped images without themselves, against all references and those that stay."""
    localizer = Localizer(whole, config)
    gone = np.setdiff1d(np.arange(len(whole.references)), kept)
    errors = np.full((2, len(tried), 2), np.nan)
    for row, index in enumerate(tqdm(tried, desc="dropped images", unit="image", disable=None)):
        for after, excluded in enumerate((np.array([index]), gone)):
            result = localize_own(localizer, int(index), config, excluded.astype(np.int64))
            if result is not None:
                error = error_of_own(result, whole, int(index))
                errors[after, row] = (
                    np.linalg.norm(error[:3]), np.degrees(np.linalg.norm(error[3:])),
                )  # fmt: skip
    return Comparison(OwnImages(tried, errors[0]), OwnImages(tried, errors[1]))

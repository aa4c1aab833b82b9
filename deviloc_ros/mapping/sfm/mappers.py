"""From verified matches to poses and points, by one of COLMAP's mappers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pycolmap
from tqdm import tqdm

from deviloc_ros.mapping.sfm.mapper_process import Task, map_in_process
from deviloc_ros.mapping.sfm.steps import cancellable

Mapper = Literal["auto", "incremental", "global", "hierarchical"]
MAPPERS: tuple[Mapper, ...] = get_args(Mapper)
# From so many images on the global mapper is tried first.
MANY_IMAGES = 300
# A share of the images; where fewer get a pose the incremental mapper is tried, too.
ENOUGH = 0.9
MIN_MODEL_IMAGES = 3
FORWARD_MOTION_ANGLE = 2.0
# Threads of COLMAP's mapper find another first pair of images from run to run; with one of them the
# same images always give the same map. Small bundle adjustments use one thread in any case.
MAPPER_THREADS = 1

Models = list[pycolmap.Reconstruction]


@dataclass(frozen=True)
class Matched:
    """Images with verified matches.

    Attributes:
        database: COLMAP's.
        images: folder of the images under the names that COLMAP knows.
        fresh: makes an empty folder of a name.
        seed: of every random choice.
        num_images: how many there are.
        refine_intrinsics: whether focal lengths and distortion may change.
    """

    database: Path
    images: Path
    fresh: Callable[[str], Path]
    seed: int
    num_images: int
    refine_intrinsics: bool


def find_models(matched: Matched, mapper: Mapper) -> Models:
    """Return models of the images; none where nothing could be found.

    Args:
        matched: the images.
        mapper: `auto` is the global one for many images, and the incremental one where there are
            few, or where the global one leaves some without a pose: the larger model counts.

    Raises:
        InputError: see map_in_process.
    """
    if mapper == "incremental" or (mapper == "auto" and matched.num_images < MANY_IMAGES):
        return _one_by_one(matched)
    kind: Literal["global", "hierarchical"] = "global" if mapper == "auto" else mapper
    with tqdm(desc=f"{kind} mapping", bar_format="{desc}", disable=None):
        models = map_in_process(
            kind,
            Task(
                matched.database, matched.images, matched.fresh(kind), matched.seed,
                matched.refine_intrinsics,
            ),
        )  # fmt: skip
    if mapper == "auto" and _largest(models) < ENOUGH * matched.num_images:
        return max(models, _one_by_one(matched), key=_largest)
    return models


def _one_by_one(matched: Matched) -> Models:
    options = pycolmap.IncrementalPipelineOptions(
        random_seed=matched.seed, num_threads=MAPPER_THREADS, min_model_size=MIN_MODEL_IMAGES
    )
    options.ba_refine_focal_length = matched.refine_intrinsics
    options.ba_refine_extra_params = matched.refine_intrinsics
    options.ba_refine_sensor_from_rig = False
    models = _incrementally(matched, options)
    if not models:
        # Cameras that only move forward never show the angles COLMAP likes to begin with.
        options.mapper.init_max_forward_motion = 1.0
        options.mapper.init_min_tri_angle = FORWARD_MOTION_ANGLE
        models = _incrementally(matched, options)
    return models


def _incrementally(matched: Matched, options: pycolmap.IncrementalPipelineOptions) -> Models:
    with tqdm(total=matched.num_images, desc="registering", unit="image", disable=None) as bar:
        models = cancellable(
            pycolmap.incremental_mapping,
            matched.database,
            matched.images,
            matched.fresh("models"),
            options=options,
            next_image_callback=bar.update,
        )
    return list(models.values())


def _largest(models: Sequence[pycolmap.Reconstruction]) -> int:
    """Return how many images the largest model has."""
    return max((int(model.num_reg_images()) for model in models), default=0)

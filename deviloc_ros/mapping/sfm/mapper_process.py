"""COLMAP's mappers for many images: the global and the hierarchical one.

Global (GLOMAP; Pan et al., "Global Structure-from-Motion Revisited", ECCV 2024): rotations are
averaged over all pairs, positions and points follow together, a bundle adjustment refines them. The
incremental mapper adds image by image and adjusts again and again, which grows faster than the
images do.

Hierarchical: the images are divided into clusters that overlap, each is mapped incrementally, and
the models are merged. No step needs memory for all images but the last one.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pycolmap

from deviloc_ros.errors import InputError
from deviloc_ros.mapping.sfm.steps import check_space

REASON = "why.txt"  # of a process that failed
# COLMAP's own sizes: images of a cluster, and those that two clusters have in common.
CLUSTER_SIZE = 500
CLUSTER_OVERLAP = 50


@dataclass(frozen=True)
class Task:
    """What the mapper gets.

    Attributes:
        database: COLMAP's, with verified matches.
        images: folder of the images under the names that COLMAP knows.
        output: empty folder for the models.
        seed: of every random choice; with it the same matches give the same models.
        refine_intrinsics: whether focal lengths and distortion may change.
        cluster_size: images of a cluster (hierarchical).
        cluster_overlap: images that two clusters have in common (hierarchical).
    """

    database: Path
    images: Path
    output: Path
    seed: int
    refine_intrinsics: bool
    cluster_size: int = CLUSTER_SIZE
    cluster_overlap: int = CLUSTER_OVERLAP


def map_in_process(
    mapper: Literal["global", "hierarchical"], task: Task
) -> list[pycolmap.Reconstruction]:
    """Find poses and points from the verified matches of a database.

    It runs in a process of its own, which ends with this one or on Ctrl-C: COLMAP cannot be told
    to stop here.

    Raises:
        InputError: the disk may become full, the mapper failed, or its process was killed
            (by lack of memory, say).
    """
    check_space(task.output)
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(mapper, task), daemon=True
    )
    process.start()
    try:
        process.join()
    except BaseException:
        process.kill()  # COLMAP's logging catches SIGTERM, and may go on
        process.join()
        raise
    if process.exitcode:
        told = task.output / REASON
        why = told.read_text(encoding="utf-8") if told.exists() else "was killed (lack of memory?)"
        raise InputError(
            f"{task.database}: COLMAP's {mapper} mapper {why}; use --mapper incremental, or fewer "
            "images"
        )
    folders = sorted(path for path in task.output.iterdir() if path.is_dir())
    return [pycolmap.Reconstruction(folder) for folder in folders]


def _run(mapper: str, task: Task) -> None:
    # What COLMAP says of images that do not match each other is told in other words.
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    run: dict[str, Callable[[Task], Mapping[int, pycolmap.Reconstruction]]] = {
        "global": _globally,
        "hierarchical": _hierarchically,
    }
    try:
        run[mapper](task)
    except (RuntimeError, ValueError, MemoryError) as error:
        reason = f"failed ({' '.join(str(error).split())[:200]})"
        (task.output / REASON).write_text(reason, encoding="utf-8")
        sys.exit(1)


# Both use one thread: several sum in another order from run to run.


def _globally(task: Task) -> Mapping[int, pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions(random_seed=task.seed, num_threads=1)
    mapper = options.mapper
    mapper.random_seed, mapper.num_threads = task.seed, 1
    mapper.refine_sensor_from_rig = False
    mapper.bundle_adjustment.refine_focal_length = task.refine_intrinsics
    mapper.bundle_adjustment.refine_extra_params = task.refine_intrinsics
    return pycolmap.global_mapping(task.database, task.images, task.output, options)


def _hierarchically(task: Task) -> Mapping[int, pycolmap.Reconstruction]:
    options = pycolmap.HierarchicalPipelineOptions(num_threads=1, num_workers=1)
    options.clustering_options.leaf_max_num_images = task.cluster_size
    options.clustering_options.image_overlap = task.cluster_overlap
    incremental = options.incremental_options
    incremental.random_seed, incremental.num_threads = task.seed, 1
    incremental.ba_refine_focal_length = task.refine_intrinsics
    incremental.ba_refine_extra_params = task.refine_intrinsics
    incremental.ba_refine_sensor_from_rig = False
    try:
        return pycolmap.hierarchical_mapping(task.database, task.images, task.output, options)
    except IndexError:  # COLMAP merges the clusters' models without asking whether there are any
        return {}

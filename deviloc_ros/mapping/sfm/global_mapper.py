"""COLMAP's global mapper (GLOMAP): all poses at once, for maps of many images.

Pan et al., "Global Structure-from-Motion Revisited", ECCV 2024: rotations are averaged over all
pairs, positions and points follow together, a bundle adjustment refines them. The incremental
mapper adds image by image and adjusts again and again, which grows faster than the images do.
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pycolmap

from deviloc_ros.errors import InputError
from deviloc_ros.mapping.sfm.steps import check_space

REASON = "why.txt"  # of a process that failed


def map_globally(
    database: Path, images: Path, output: Path, seed: int, refine_intrinsics: bool
) -> list[pycolmap.Reconstruction]:
    """Find poses and points from the verified matches of a database.

    It runs in a process of its own, which ends with this one or on Ctrl-C: COLMAP cannot be told
    to stop here.

    Args:
        database: COLMAP's.
        images: folder of the images under the names that COLMAP knows.
        output: empty folder for the models.
        seed: of every random choice; with it the same matches give the same models.
        refine_intrinsics: whether focal lengths and distortion may change.

    Raises:
        InputError: the disk may become full, the mapper failed, or its process was killed
            (by lack of memory, say).
    """
    check_space(output)
    arguments = database, images, output, seed, refine_intrinsics
    process = multiprocessing.get_context("spawn").Process(target=_run, args=arguments, daemon=True)
    process.start()
    try:
        process.join()
    except BaseException:
        process.terminate()
        process.join()
        raise
    if process.exitcode:
        told = output / REASON
        why = told.read_text(encoding="utf-8") if told.exists() else "was killed (lack of memory?)"
        raise InputError(
            f"{database}: COLMAP's global mapper {why}; use --mapper incremental, or fewer images"
        )
    folders = sorted(path for path in output.iterdir() if path.is_dir())
    return [pycolmap.Reconstruction(folder) for folder in folders]


def _run(database: Path, images: Path, output: Path, seed: int, refine_intrinsics: bool) -> None:
    # What COLMAP says of images that do not match each other is told in other words.
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    # One thread: several sum in another order from run to run.
    options = pycolmap.GlobalPipelineOptions(random_seed=seed, num_threads=1)
    mapper = options.mapper
    mapper.random_seed, mapper.num_threads = seed, 1
    mapper.refine_sensor_from_rig = False
    mapper.bundle_adjustment.refine_focal_length = refine_intrinsics
    mapper.bundle_adjustment.refine_extra_params = refine_intrinsics
    try:
        pycolmap.global_mapping(database, images, output, options)
    except (RuntimeError, ValueError, MemoryError) as error:
        reason = f"failed ({' '.join(str(error).split())[:200]})"
        (output / REASON).write_text(reason, encoding="utf-8")
        sys.exit(1)

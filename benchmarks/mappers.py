"""COLMAP's incremental and its global mapper on the same matches.

    ./run bench mappers DATA [--only SCENE ...] [--images N] [--max-size PIXELS] [--work DIR]

DATA holds one folder a scene, each with images/ and, where poses are known, a COLMAP model. Of each
scene at most N images are taken, evenly, and matched exhaustively. Both mappers then work from the
same database. Printed are CPU-seconds of all threads (mapping alone), images with a pose, points,
the mean reprojection error, and how far positions are from the known ones after a similarity fit:
the median, as a share of the scene's extent. Features and matches are kept in --work.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap

from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.datasets.image_folder import list_images
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity_fit import fit_positions
from deviloc_ros.images import image_size
from deviloc_ros.mapping.sfm.intrinsics import Intrinsics
from deviloc_ros.mapping.sfm.reconstruction import MIN_MODEL_IMAGES, StructureFromMotion
from deviloc_ros.mapping.sfm.sift_settings import SiftSettings

SCENES = ("fox", "lund-walk", "family", "statue-sunset-noon")


def matched(
    images: Path, names: Sequence[str], size: int, folder: Path
) -> tuple[StructureFromMotion, int]:
    """Match images, what is done already aside; return the work, and how many images it is for."""
    sfm = StructureFromMotion(images, folder, 0, SiftSettings(max_image_size=size))
    refused = sfm.stage(names)
    usable = [name for name in names if name not in refused]
    sfm.import_images({name: image_size(images / name) for name in usable}, Intrinsics())
    blank = sfm.extract(usable)
    usable = [name for name in usable if name not in blank]
    sfm.match(list(itertools.combinations(usable, 2)))
    return sfm, len(usable)


def globally(sfm: StructureFromMotion, folder: Path) -> pycolmap.Reconstruction | None:
    """Return the largest model of the global mapper."""
    folder.mkdir(exist_ok=True)
    options = pycolmap.GlobalPipelineOptions(random_seed=0, min_model_size=MIN_MODEL_IMAGES)
    found = pycolmap.global_mapping(sfm.database, sfm.workspace / "images", folder, options)
    return max(found.values(), key=lambda model: int(model.num_reg_images()), default=None)


def incrementally(sfm: StructureFromMotion, count: int) -> pycolmap.Reconstruction | None:
    """Return the largest model of the incremental mapper, as the builder makes it."""
    try:
        return sfm.reconstruct(count, Intrinsics())[0]
    except NothingFoundError:
        return None


def error(model: pycolmap.Reconstruction, scene: Path) -> str:
    """Return the median error of positions as a share of the scene's extent, if it is known."""
    if not (scene / "images.txt").exists():
        return "-"
    true = {item.name: item.camera_from_map.inverse().translation for item in posed_images(scene)}
    found = {
        image.name: np.asarray(image.projection_center())
        for image in model.images.values()
        if image.has_pose and image.name in true
    }
    target = np.array([true[name] for name in found])
    fit = fit_positions(np.array(list(found.values())), target)
    extent = float(np.linalg.norm(np.ptp(target, axis=0)))
    return f"{float(np.median(fit.residuals)) / extent:.2%}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare on each scene."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=SCENES, default=SCENES)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--max-size", type=int, default=SiftSettings().max_image_size)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args(arguments)
    work = args.work or Path(tempfile.mkdtemp(prefix="mappers-"))
    print("| scene | mapper | CPU-seconds | images | points | reprojection error | position |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in args.only:
        images = args.data / name / "images"
        every = list_images(images)
        chosen = np.linspace(0, len(every) - 1, min(args.images, len(every))).round().astype(int)
        names = [every[i] for i in chosen.tolist()]
        folder = work / f"{name}-{len(names)}-{args.max_size}"
        sfm, count = matched(images, names, args.max_size, folder)

        for kind in ("global", "incremental"):
            busy = time.process_time()
            if kind == "global":
                model = globally(sfm, folder / "global")
            else:
                model = incrementally(sfm, count)
            busy = time.process_time() - busy
            if model is None:
                print(f"| {name} | {kind} | {busy:.1f} | 0 of {count} | | | |", flush=True)
                continue
            print(
                f"| {name} | {kind} | {busy:.1f} | {model.num_reg_images()} of {count} | "
                f"{len(model.points3D)} | {model.compute_mean_reprojection_error():.2f} px | "
                f"{error(model, args.data / name)} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

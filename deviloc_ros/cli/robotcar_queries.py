"""`deviloc robotcar queries`: the benchmark's query images, for localize and evaluate."""

from __future__ import annotations

import argparse
from pathlib import Path

from deviloc_ros.cli.arguments import AXES, Subparsers, add_command
from deviloc_ros.cli.map.dataset import read_places
from deviloc_ros.errors import InputError

QUERIES = """\
List the query images of RobotCar Seasons with their cameras, as 'deviloc localize --cameras' takes
them, and write the public true poses (version 2) as a model for 'deviloc evaluate'.

--output is a folder that gets
  cameras.txt    'name MODEL width height param ...', names below the data set's images/
  truth/         COLMAP model of those of the images that have a public pose"""

QUERIES_EXAMPLES = """\
  deviloc robotcar queries RobotCar-Seasons/ --only train --output night --conditions night
  deviloc localize oxford.devtiles --images RobotCar-Seasons/images --cameras night/cameras.txt \\
      --output night/poses.txt
  deviloc evaluate --poses night/poses.txt --model night/truth"""


def add_queries(actions: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        actions, "queries", "list query images and true poses", QUERIES, QUERIES_EXAMPLES
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of RobotCar Seasons")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for the results")
    parser.add_argument(
        "--conditions", metavar="NAME,...", help="default: all but overcast-reference"
    )
    parser.add_argument(
        "--cameras", default="rear", metavar="NAME,...", help="left, rear, right (rear)"
    )
    parser.add_argument(
        "--places", metavar="N,N-N", help="only images that the lists of these submaps name"
    )
    parser.add_argument(
        "--only",
        choices=("train", "test"),
        help="only images with a public pose, or those that submissions are judged by (version 2)",
    )
    parser.add_argument(
        "--up", choices=AXES, help="turn true poses as 'map build --up' turned the map"
    )


def run_queries(args: argparse.Namespace) -> int:
    """Write the list and the model."""
    from deviloc_ros.atomic import atomic_path
    from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
    from deviloc_ros.mapping.map_frame import z_up_from
    from deviloc_ros.robotcar.seasons_files import (
        CAMERAS,
        REFERENCE_CONDITION,
        TRAIN,
        Seasons,
    )

    seasons = Seasons(args.folder)
    cameras = args.cameras.split(",")
    if strange := [name for name in cameras if name not in CAMERAS]:
        raise InputError(f"--cameras {strange[0]}: RobotCar Seasons has {', '.join(CAMERAS)}")
    conditions = [name for name in seasons.conditions if name != REFERENCE_CONDITION]
    if args.conditions is not None:
        conditions = args.conditions.split(",")
    names = [image.name for name in conditions for image in seasons.images(name, cameras)]
    poses = seasons.training_poses() if (args.folder / TRAIN).is_file() else {}
    if args.places is not None:
        listed = {name for place in read_places(args.places) for name in seasons.queries(place)}
        names = [name for name in names if name in listed]
    if args.only is not None:
        wanted = set(seasons.test_images()) if args.only == "test" else set(poses)
        names = [name for name in names if name in wanted]
    if not names:
        raise InputError(f"{args.folder}: no query image is left of {', '.join(conditions)}")
    models = {name: seasons.camera(name) for name in cameras}
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{args.output}: cannot be made ({error.strerror})") from None
    with atomic_path(args.output / "cameras.txt") as path:
        lines = [f"{name} {models[name.split('/')[1]]}\n" for name in names]
        path.write_text("".join(lines), encoding="utf-8")
    turn = z_up_from(args.up or "z")
    posed = [
        PosedImage(name, models[name.split("/")[1]], turn.camera_pose(poses[name].inverse()))
        for name in names
        if name in poses
    ]
    if posed:
        write_posed_images(args.output / "truth", posed)
    print(f"{args.output}: {len(names)} images, {len(posed)} with a true pose")
    return 0

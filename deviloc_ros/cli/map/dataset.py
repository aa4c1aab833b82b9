"""`deviloc map build --dataset`: maps of data sets that bring their own models."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import load_config
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.cluster.workers import Workers

DATASETS = ("robotcar-seasons",)
MAX_PLACE = 9999


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument(
        "--dataset",
        choices=DATASETS,
        help="--images is the folder of this data set; its submaps become tiles of one map, "
        "MAP is their index (docs/robotcar.md)",
    )
    parser.add_argument(
        "--places",
        metavar="N,N-N",
        help="with --dataset: only these submaps, such as 1,5-8; default: all",
    )


def build_dataset(args: argparse.Namespace, workers: Workers) -> int:
    """Build the tiles and their index."""
    if args.dataset is None:
        raise InputError("--places chooses submaps of a data set: give --dataset")
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("model", "metric", "camera", "camera_model")
        if getattr(args, name)
    ]
    if given:
        raise InputError(f"{given[0]} does not go with --dataset, which has its own models")
    places = read_places(args.places) if args.places is not None else None

    from deviloc_ros.mapping.build import BuildOptions
    from deviloc_ros.robotcar.seasons_files import Seasons
    from deviloc_ros.robotcar.seasons_map import build_seasons

    options = BuildOptions(
        config=load_config(args), keep_workspace=args.keep_workspace, workers=workers
    )
    summary = build_seasons(Seasons(args.images), args.output, args.up, options, places)
    kept = f", {summary.num_kept} of them kept from before" if summary.num_kept else ""
    print(
        f"{args.output}: {summary.num_tiles} tiles{kept}; {summary.num_references} of "
        f"{summary.num_images} images"
    )
    return 0


def read_places(text: str) -> list[int]:
    """Read "1,5-8".

    Raises:
        InputError: it is something else.
    """
    places: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if found is None:
            raise InputError(f"--places {text}: expected numbers and ranges, such as 1,5-8")
        begin, end = int(found[1]), int(found[2] or found[1])
        if not 1 <= begin <= end <= MAX_PLACE:
            raise InputError(f"--places {part}: a range goes up, from 1")
        places += range(begin, end + 1)
    return places

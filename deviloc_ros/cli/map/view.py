"""`deviloc map view`: a map in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from deviloc_ros.cli.arguments import Subparsers, add_command, check_output, tell
from deviloc_ros.errors import InputError

VIEW = """\
Write a page that shows a map in a browser: points, cameras of each look, tiles, and the poses of a
run with their covariances. It is one file and needs no network."""

VIEW_EXAMPLES = """\
  deviloc map view place.devmap --output place.html
  deviloc map view place.devmap --poses poses.txt --stats stats.json --output run.html"""


def add_view(actions: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(actions, "view", "show a map in a browser", VIEW, VIEW_EXAMPLES)
    parser.add_argument("map", type=Path, metavar="MAP", help="map file or index of tiles")
    parser.add_argument(
        "--poses", type=Path, metavar="POSES", help="poses as 'deviloc localize' writes them"
    )
    parser.add_argument(
        "--stats",
        type=Path,
        metavar="FILE",
        help="what 'deviloc localize --json' wrote, for the covariances of the poses",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="PAGE.html", help="the page to write"
    )


def run_view(args: argparse.Namespace) -> int:
    """Write the page."""
    check_output(args.output)
    if args.stats is not None and args.poses is None:
        raise InputError("--stats has the covariances of poses: give --poses")

    from deviloc_ros.datasets.poses import read_poses
    from deviloc_ros.mapping.view_page import write_view
    from deviloc_ros.maps.open_map import open_map
    from deviloc_ros.offline.stats import read_covariances

    reference_map = open_map(args.map)
    poses = {} if args.poses is None else read_poses(args.poses)
    covariances = {} if args.stats is None else read_covariances(args.stats)
    write_view(args.output, reference_map, poses, covariances, args.map.name)
    size = args.output.stat().st_size / 1e6 if args.output.is_file() else 0.0
    tell(f"{args.output}: {size:.1f} MB, open it in a browser", args.output)
    return 0

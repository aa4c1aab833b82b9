"""`deviloc map view`: a map in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from deviloc_ros.cli.arguments import Subparsers, add_command, check_output, tell
from deviloc_ros.errors import InputError

VIEW = """\
Write a page that shows a map in a browser: points, cameras of each look, tiles, and the poses of a
run with their covariances. It is one file and needs no network. With --rerun, write the same as a
recording for the viewer of rerun (https://rerun.io)."""

VIEW_EXAMPLES = """\
  deviloc map view place.devmap --output place.html
  deviloc map view place.devmap --poses poses.txt --stats stats.json --output run.html
  deviloc map view place.devmap --poses poses.txt --rerun run.rrd"""


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
    parser.add_argument("--output", type=Path, metavar="PAGE.html", help="the page to write")
    parser.add_argument(
        "--rerun",
        type=Path,
        metavar="FILE.rrd",
        help="the recording to write; needs rerun-sdk (pip install 'deviloc_ros[rerun]')",
    )


def run_view(args: argparse.Namespace) -> int:
    """Write the page."""
    if args.output is None and args.rerun is None:
        raise InputError("nothing to write: give --output PAGE.html, --rerun FILE.rrd, or both")
    check_output(args.output)
    check_output(args.rerun)
    if args.stats is not None and args.poses is None:
        raise InputError("--stats has the covariances of poses: give --poses")

    from deviloc_ros.datasets.poses import read_poses
    from deviloc_ros.mapping.pages.rerun_recording import write_recording
    from deviloc_ros.mapping.pages.view_page import write_view
    from deviloc_ros.maps.open_map import open_map
    from deviloc_ros.offline.stats import read_covariances

    reference_map = open_map(args.map)
    poses = {} if args.poses is None else read_poses(args.poses)
    covariances = {} if args.stats is None else read_covariances(args.stats)
    for path, write in ((args.output, write_view), (args.rerun, write_recording)):
        if path is None:
            continue
        write(path, reference_map, poses, covariances, args.map.name)
        size = path.stat().st_size / 1e6 if path.is_file() else 0.0
        opened = "a browser" if write is write_view else "rerun"
        tell(f"{path}: {size:.1f} MB, open it in {opened}", path)
    return 0

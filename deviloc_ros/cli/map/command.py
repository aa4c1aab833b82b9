"""`deviloc map`: build a map and look at it; see map_*.py for the rest."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import (
    AXES,
    Subparsers,
    add_command,
    add_config,
    add_workers,
    check_output,
    load_config,
    tell,
    tell_unread,
)
from deviloc_ros.cli.map.align import add_align, run_align
from deviloc_ros.cli.map.bag import drive_text, take_images
from deviloc_ros.cli.map.bag_options import add_bag
from deviloc_ros.cli.map.dataset import add_dataset, build_dataset
from deviloc_ros.cli.map.extend import add_extend, run_extend
from deviloc_ros.cli.map.merge import add_merge, run_merge
from deviloc_ros.cli.map.prune import add_prune, run_prune
from deviloc_ros.cli.map.report import add_report, report_path, write_report
from deviloc_ros.cli.map.tile import add_tile, run_tile
from deviloc_ros.cli.map.view import add_view, run_view
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deviloc_ros.cluster.workers import Workers
    from deviloc_ros.geometry.mounted_camera import MountedCamera

BUILD = """\
Make a map of a place from a folder of images. With --model, poses and intrinsics of a COLMAP model
are taken as given, and points are triangulated where it has none; without, everything is
reconstructed from the images. With --bag, images and their camera come from a rosbag2; where its
transforms have odometry, the map is metric, with z up, and a page tells how good it is. Images that
cannot be placed are listed with the reason. A build that was interrupted goes on where it stopped
when the same command is given again."""

BUILD_EXAMPLES = """\
  deviloc map build --images photos/ --output place.devmap
  deviloc map build --images photos/ --camera "PINHOLE 640 480 500 500 320 240" --output a.devmap
  deviloc map build --images photos/ --model surveyed/ --metric --up z --output place.devmap
  deviloc map build --images site/ --model surveyed/ --workers head:6379 --output site.devmap
  deviloc map build --bag drive/ --topic /front/image_raw --output street.devmap
  deviloc map build --dataset robotcar-seasons --images RobotCar-Seasons/ --up minus-z \\
      --output oxford.devtiles"""

INFO = "Say what a map holds: images, points, frame, which images are not in it and why."

INFO_EXAMPLES = """\
  deviloc map info place.devmap
  deviloc map info place.devmap --picture place.png
  deviloc map info place.devmap --json | jq .unregistered"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command lines."""
    parser = add_command(
        subparsers,
        "map",
        "build, change and inspect maps",
        "Build, change and inspect maps.",
        "  deviloc map build --help\n  deviloc map info --help\n  deviloc map align --help\n"
        "  deviloc map tile --help\n  deviloc map extend --help\n"
        "  deviloc map merge --help\n  deviloc map prune --help\n"
        "  deviloc map view --help",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_build(actions)
    _add_info(actions)
    add_align(actions)
    add_tile(actions)
    add_extend(actions)
    add_merge(actions)
    add_prune(actions)
    add_view(actions)


def run(args: argparse.Namespace) -> int:
    """Run the action that was asked for."""
    actions = {
        "build": _build,
        "info": _info,
        "align": run_align,
        "tile": run_tile,
        "extend": run_extend,
        "merge": run_merge,
        "prune": run_prune,
        "view": run_view,
    }
    return actions[args.action](args)


def _add_build(actions: Subparsers) -> None:
    parser = add_command(actions, "build", "make a map from images", BUILD, BUILD_EXAMPLES)
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of images, searched deep"
    )
    add_bag(parser, images)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="MAP", help="the map file to write"
    )
    add_dataset(parser)
    parser.add_argument(
        "--model",
        type=Path,
        metavar="COLMAP_DIR",
        help="COLMAP model (text or binary) whose poses and intrinsics are taken as given",
    )
    parser.add_argument("--metric", action="store_true", help="the model is in metres")
    parser.add_argument(
        "--up", choices=AXES, help="the model's axis that points up; the map is turned to z up"
    )
    cameras = parser.add_argument_group("cameras of a map without --model")
    cameras.add_argument(
        "--camera",
        metavar='"MODEL w h param ..."',
        help="known intrinsics of all images, kept as they are",
    )
    cameras.add_argument(
        "--camera-model",
        metavar="NAME",
        help="COLMAP model to estimate where intrinsics are unknown (SIMPLE_RADIAL, and RADIAL "
        "for cameras of 20 images or more)",
    )
    cameras.add_argument(
        "--shared-camera",
        choices=("auto", "all", "folder", "image"),
        default="auto",
        help="which images share one camera: auto is all where all have one size",
    )
    parser.add_argument(
        "--mapper",
        choices=("auto", "incremental", "global", "hierarchical"),
        default="auto",
        help="of COLMAP, where no model is given: global finds all poses at once; hierarchical "
        "maps clusters of 500 images and merges them, where global needs too much memory; auto is "
        "global from 300 images on, and incremental where that leaves a tenth without a pose",
    )
    parser.add_argument(
        "--keep-workspace",
        action="store_true",
        help="leave COLMAP's database and model in MAP.build",
    )
    add_report(parser)
    add_workers(parser)
    add_config(parser)


def _add_info(actions: Subparsers) -> None:
    parser = add_command(actions, "info", "what a map holds", INFO, INFO_EXAMPLES)
    parser.add_argument("map", type=Path, metavar="MAP", help="the map file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw points and cameras from above"
    )


def _build(args: argparse.Namespace) -> int:
    check_output(args.output)

    from deviloc_ros.cluster.workers import open_workers

    with open_workers(args.workers) as workers:
        return _build_with(workers, args)


def _build_with(workers: Workers, args: argparse.Namespace) -> int:
    report = report_path(args)
    taken = take_images(args)
    if args.dataset is not None or args.places is not None:
        return build_dataset(args, workers)
    if args.model is None and (args.metric or args.up):
        raise InputError(
            "--metric and --up describe a given model: give --model, or use 'map align'"
        )
    if args.model is not None and (args.camera or args.camera_model):
        raise InputError(
            "--camera and --camera-model do not go with --model, which has its cameras"
        )
    if args.camera and args.camera_model:
        raise InputError("--camera has its model already: leave out --camera-model")

    from deviloc_ros.geometry.camera import MODEL_NAMES, Camera
    from deviloc_ros.mapping.build import BuildOptions, build_map
    from deviloc_ros.mapping.multiview.epipolar import doubt
    from deviloc_ros.mapping.sfm.intrinsics import AUTO, Intrinsics

    model = args.camera_model or AUTO
    if model not in (AUTO, *MODEL_NAMES):
        raise InputError(f"--camera-model {model}: unknown; use one of {', '.join(MODEL_NAMES)}")
    known = Camera.parse(args.camera) if args.camera else None
    rig: Mapping[str, MountedCamera] = {}
    if taken is not None:
        known, rig = taken.camera, taken.rig
    options = BuildOptions(
        intrinsics=Intrinsics(args.shared_camera, model, known, rig),
        config=load_config(args),
        metric=args.metric,
        gravity_aligned=args.up is not None,
        up=args.up or "z",
        keep_workspace=args.keep_workspace,
        odometry={} if taken is None else taken.odometry,
        fixes=() if taken is None else taken.fixes,
        mapper=args.mapper,
        workers=workers,
    )
    images = args.images if taken is None else taken.folder
    tell_unread(images)
    summary = build_map(images, args.output, args.model, options)
    count = len(summary.map.references)
    lines = [f"{count} of {summary.num_images} images, {len(summary.map.point_array)} points"]
    tell(f"{args.output}: {lines[0]}", args.output)
    for name, reason in sorted(summary.map.unregistered.items()):
        tell(f"  not in the map: {name}: {reason}", args.output)
    if taken is not None:
        drive = drive_text(summary.drive)
        for line in drive:
            tell(f"  {line}", args.output)
        lines = [taken.text, *lines, *drive]
    if report is not None:
        write_report(args, report, summary, taken, lines)
    if taken is not None:
        taken.remove(args.keep_workspace)
    if summary.adapted:
        print(
            f"deviloc: note: {len(summary.adapted)} images ({summary.adapted[0]}, ...) have another"
            " size than --camera, which was scaled to them, and turned for those turned by 90 deg",
            file=sys.stderr,
        )
    doubted = doubt(summary.map)
    if doubted is not None:
        print(f"deviloc: warning: {doubted}", file=sys.stderr)
    return 0


def _info(args: argparse.Namespace) -> int:
    check_output(args.picture)

    from deviloc_ros.mapping.info import describe_map, draw_map, info_text
    from deviloc_ros.maps.open_map import open_map

    reference_map = open_map(args.map)
    if args.picture is not None:
        draw_map(args.picture, reference_map)
    info = describe_map(args.map, reference_map)
    tell(json.dumps(info, indent=2) if args.json else info_text(info), args.picture)
    return 0

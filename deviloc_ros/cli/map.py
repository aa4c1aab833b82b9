"""`deviloc map`: build a map, look at it, align it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import (
    AXES,
    Subparsers,
    add_command,
    add_config,
    check_output,
    load_config,
)
from deviloc_ros.cli.map_dataset import add_dataset, build_dataset
from deviloc_ros.cli.map_tile import add_tile, run_tile
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.mapping.align import Alignment
    from deviloc_ros.mapping.map import Map

BUILD = """\
Make a map of a place from a folder of images. With --model, poses and intrinsics of a COLMAP model
are taken as given, and points are triangulated where it has none; without, everything is
reconstructed from the images. Images that cannot be placed are listed with the reason. A build that
was interrupted goes on where it stopped when the same command is given again."""

BUILD_EXAMPLES = """\
  deviloc map build --images photos/ --output place.devmap
  deviloc map build --images photos/ --camera "PINHOLE 640 480 500 500 320 240" --output a.devmap
  deviloc map build --images photos/ --model surveyed/ --metric --up z --output place.devmap
  deviloc map build --dataset robotcar-seasons --images RobotCar-Seasons/ --up minus-z \\
      --output oxford.devtiles"""

INFO = "Say what a map holds: images, points, frame, which images are not in it and why."

INFO_EXAMPLES = """\
  deviloc map info place.devmap
  deviloc map info place.devmap --picture place.png
  deviloc map info place.devmap --json | jq .unregistered"""

ALIGN = """\
Bring a map into a metric frame whose z points up, which robots need. Up to nearly half of the given
positions or poses may be wrong; those are found and left out. The map is changed in place unless
--output names another file."""

ALIGN_EXAMPLES = """\
  deviloc map align place.devmap --positions gps_enu.txt     # lines 'name x y z', metres, z up
  deviloc map align place.devmap --model surveyed/ --up minus-y   # poses; -y is up
  deviloc map align place.devmap --scale 2.37 --output metric.devmap"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command lines."""
    parser = add_command(
        subparsers,
        "map",
        "build, inspect, align and tile maps",
        "Build, inspect, align and tile maps.",
        "  deviloc map build --help\n  deviloc map info --help\n  deviloc map align --help\n"
        "  deviloc map tile --help",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_build(actions)
    _add_info(actions)
    _add_align(actions)
    add_tile(actions)


def run(args: argparse.Namespace) -> int:
    """Run the action that was asked for."""
    actions = {"build": _build, "info": _info, "align": _align, "tile": run_tile}
    return actions[args.action](args)


def _add_build(actions: Subparsers) -> None:
    parser = add_command(actions, "build", "make a map from images", BUILD, BUILD_EXAMPLES)
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of images, searched deep"
    )
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
        help="COLMAP model to estimate where intrinsics are unknown (SIMPLE_RADIAL)",
    )
    cameras.add_argument(
        "--shared-camera",
        choices=("auto", "all", "folder", "image"),
        default="auto",
        help="which images share one camera: auto is all where all have one size",
    )
    parser.add_argument(
        "--keep-workspace",
        action="store_true",
        help="leave COLMAP's database and model in MAP.build",
    )
    add_config(parser)


def _add_info(actions: Subparsers) -> None:
    parser = add_command(actions, "info", "what a map holds", INFO, INFO_EXAMPLES)
    parser.add_argument("map", type=Path, metavar="MAP", help="the map file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw points and cameras from above"
    )


def _add_align(actions: Subparsers) -> None:
    parser = add_command(actions, "align", "metric scale and z up", ALIGN, ALIGN_EXAMPLES)
    parser.add_argument("map", type=Path, metavar="MAP", help="the map file")
    by = parser.add_mutually_exclusive_group(required=True)
    by.add_argument(
        "--positions",
        type=Path,
        metavar="FILE",
        help="camera positions of at least 3 images of the map, not on one line: 'name x y z', "
        "metres",
    )
    by.add_argument(
        "--model",
        type=Path,
        metavar="COLMAP_DIR",
        help="COLMAP model in metres that shares at least 3 images with the map",
    )
    by.add_argument(
        "--scale", type=float, metavar="S", help="metres per unit of the map; nothing is turned"
    )
    parser.add_argument(
        "--up",
        choices=AXES,
        default="z",
        help="axis of the given positions or model that points up (z); it becomes the map's z",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the aligned map there instead"
    )


def _build(args: argparse.Namespace) -> int:
    check_output(args.output)
    if args.dataset is not None or args.places is not None:
        return build_dataset(args)
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
    from deviloc_ros.mapping.align import transform_map, z_up_from
    from deviloc_ros.mapping.build import BuildOptions, build_map
    from deviloc_ros.mapping.intrinsics import Intrinsics

    model = args.camera_model or "SIMPLE_RADIAL"
    if model not in MODEL_NAMES:
        raise InputError(f"--camera-model {model}: unknown; use one of {', '.join(MODEL_NAMES)}")
    known = Camera.parse(args.camera) if args.camera else None
    options = BuildOptions(
        intrinsics=Intrinsics(args.shared_camera, model, known),
        config=load_config(args),
        metric=args.metric,
        gravity_aligned=args.up == "z",
        keep_workspace=args.keep_workspace,
    )
    summary = build_map(args.images, args.output, args.model, options)
    if args.up not in (None, "z"):
        turned = transform_map(summary.map, z_up_from(args.up), args.metric, gravity_aligned=True)
        turned.save(args.output)
    count = len(summary.map.references)
    print(
        f"{args.output}: {count} of {summary.num_images} images, "
        f"{len(summary.map.point_array)} points"
    )
    for name, reason in sorted(summary.map.unregistered.items()):
        print(f"  not in the map: {name}: {reason}")
    return 0


def _info(args: argparse.Namespace) -> int:
    check_output(args.picture)

    from deviloc_ros.mapping.info import describe_map, draw_map, info_text
    from deviloc_ros.mapping.open_map import open_map

    reference_map = open_map(args.map)
    if args.picture is not None:
        draw_map(args.picture, reference_map)
    info = describe_map(args.map, reference_map)
    print(json.dumps(info, indent=2) if args.json else info_text(info))
    return 0


def _align(args: argparse.Namespace) -> int:
    output = args.output or args.map
    check_output(output)

    from deviloc_ros.datasets.colmap import posed_images
    from deviloc_ros.datasets.poses import read_positions
    from deviloc_ros.geometry.similarity import Similarity
    from deviloc_ros.mapping.align import (
        align_to_cameras,
        align_to_positions,
        transform_map,
        z_up_from,
    )
    from deviloc_ros.mapping.map import Map

    reference_map = Map.load(args.map)
    if args.scale is not None:
        if not 1e-9 < args.scale < 1e9:
            raise InputError(f"--scale {args.scale:g}: must be positive, metres per map unit")
        scale = replace(Similarity.identity(), scale=args.scale)
        aligned = transform_map(
            reference_map, scale, metric=True, gravity_aligned=reference_map.gravity_aligned
        )
        how = f"scaled by {args.scale:g}"
    else:
        if args.positions is not None:
            alignment = align_to_positions(reference_map, read_positions(args.positions))
        else:
            given = posed_images(args.model)
            alignment = align_to_cameras(
                reference_map, {image.name: image.camera_from_map for image in given}
            )
        aligned = transform_map(
            reference_map,
            z_up_from(args.up) @ alignment.target_from_map,
            metric=True,
            gravity_aligned=True,
        )
        how = _describe(alignment)
        _warn_if_lying(aligned, args.up)
    aligned = aligned.with_meta({"alignment": how})
    aligned.save(output)
    print(f"{output}: {how}")
    return 0


def _describe(alignment: Alignment) -> str:
    import numpy as np

    used = alignment.residuals[alignment.inliers]
    text = (
        f"aligned by {len(used)} of {len(alignment.names)} images, scale "
        f"{alignment.target_from_map.scale:.6g}, off by {np.median(used):.3f} m (median), "
        f"{used.max():.3f} m (largest)"
    )
    left_out = [
        f"{name} ({residual:.2f} m)"
        for name, residual, inlier in zip(
            alignment.names, alignment.residuals, alignment.inliers, strict=True
        )
        if not inlier
    ]
    return text + (f"; left out as wrong: {', '.join(left_out)}" if left_out else "")


def _warn_if_lying(aligned: Map, up: str) -> None:
    """Say it where the images' own up says that another axis is up."""
    from deviloc_ros.mapping.align import image_up

    if image_up(aligned)[2] < 0.5:
        print(
            f"deviloc: warning: with {up} as up, the tops of most images do not point up; if the "
            "camera was not tilted that far, give the right axis by --up",
            file=sys.stderr,
        )

"""`deviloc map align`: bring a map into a metric frame whose z points up."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import AXES, Subparsers, add_command, check_output, tell
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.mapping.map_frame import MapFit
    from deviloc_ros.maps.map import Map

ALIGN = """\
Bring a map into a metric frame whose z points up, which robots need. Up to nearly half of the given
positions or poses may be wrong; those are found and left out. The map is changed in place unless
--output names another file."""

ALIGN_EXAMPLES = """\
  deviloc map align place.devmap --positions gps_enu.txt     # lines 'name x y z', metres, z up
  deviloc map align place.devmap --positions gps.txt --wgs84 # 'name latitude longitude altitude'
  deviloc map align place.devmap --model surveyed/ --up minus-y   # poses; -y is up
  deviloc map align place.devmap --scale 2.37 --output metric.devmap"""


def add_align(actions: Subparsers) -> None:
    """Describe the command line."""
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
        help="axis of the given positions or model that points up (z); it becomes the map's z",
    )
    parser.add_argument(
        "--wgs84",
        action="store_true",
        help="positions are 'name latitude longitude altitude', degrees and metres; the map gets "
        "x east, y north, z up at their middle, which is printed for the node's georeference",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the aligned map there instead"
    )


def run_align(args: argparse.Namespace) -> int:
    """Align the map."""
    output = args.output or args.map
    up = args.up or "z"
    if args.wgs84 and (args.positions is None or up != "z"):
        raise InputError("--wgs84 describes --positions, whose up is known: leave out --up")
    check_output(output)

    from deviloc_ros.datasets.colmap import posed_images
    from deviloc_ros.datasets.poses import read_positions
    from deviloc_ros.geometry.similarity import Similarity
    from deviloc_ros.mapping.map_frame import (
        check_upright,
        fit_map_to_cameras,
        fit_map_to_positions,
        positions_of_wgs84,
        transform_map,
        z_up_from,
    )
    from deviloc_ros.maps.map import Map

    reference_map = Map.load(args.map)
    if args.scale is not None:
        if not 1e-9 < args.scale < 1e9:
            raise InputError(f"--scale {args.scale:g}: must be positive, metres per map unit")
        scale = replace(Similarity.identity(), scale=args.scale)
        moved = transform_map(
            reference_map, scale, metric=True, gravity_aligned=reference_map.gravity_aligned
        )
        how = f"scaled by {args.scale:g}"
    else:
        origin = ""
        if args.positions is not None:
            positions = read_positions(args.positions)
            if args.wgs84:
                positions, place = positions_of_wgs84(positions)
                origin = "; origin latitude {:.7f}, longitude {:.7f}, altitude {:.2f}".format(
                    *place
                )
            fit = fit_map_to_positions(reference_map, positions)
        else:
            given = posed_images(args.model)
            fit = fit_map_to_cameras(
                reference_map, {image.name: image.camera_from_map for image in given}
            )
        moved = transform_map(
            reference_map,
            z_up_from(up) @ fit.target_from_map,
            metric=True,
            gravity_aligned=True,
        )
        how = _describe(fit) + origin
        if args.up is None:
            check_upright(moved, up)
        _warn_if_lying(moved, up)
    moved = moved.with_meta({"alignment": how})
    moved.save(output)
    tell(f"{output}: {how}", output)
    return 0


def _describe(fit: MapFit) -> str:
    import numpy as np

    used = fit.residuals[fit.inliers]
    text = (
        f"aligned by {len(used)} of {len(fit.names)} images, scale "
        f"{fit.target_from_map.scale:.6g}, off by {np.median(used):.3f} m (median), "
        f"{used.max():.3f} m (largest)"
    )
    left_out = [
        f"{name} ({residual:.2f} m)"
        for name, residual, inlier in zip(fit.names, fit.residuals, fit.inliers, strict=True)
        if not inlier
    ]
    return text + (f"; left out as wrong: {', '.join(left_out)}" if left_out else "")


def _warn_if_lying(moved: Map, up: str) -> None:
    """Say it where the images' own up says that another axis is up."""
    from deviloc_ros.mapping.map_frame import UPSIDE_DOWN, WHY_UPSIDE_DOWN, image_up

    height = image_up(moved)[2]
    if height < UPSIDE_DOWN:
        print(
            f"deviloc: warning: with {up} as up the map stands on its head: {WHY_UPSIDE_DOWN}",
            file=sys.stderr,
        )
    elif height < 0.5:
        print(
            f"deviloc: warning: with {up} as up, the tops of most images do not point up; if the "
            "camera was not tilted that far, give the right axis by --up",
            file=sys.stderr,
        )

"""`deviloc map build --bag`: the images of a drive, their camera and its odometry."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deviloc_ros.cli.arguments import note
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.geometry.camera import Camera
    from deviloc_ros.geometry.transform import Transform
    from deviloc_ros.mapping.map_frame import MapFit

OPTIONS = ("topic", "camera_info", "odom_frame", "distance", "turn", "every", "no_odometry")
DISTANCE, TURN, EVERY = 0.5, 15.0, 0.5


@dataclass(frozen=True)
class TakenImages:
    """Images that were taken out of a bag.

    Attributes:
        folder: of the image files.
        camera: of all of them.
        odometry: camera_from_odometry by name, where it is known.
    """

    folder: Path
    camera: Camera
    odometry: Mapping[str, Transform]

    def remove(self, keep: bool) -> None:
        """Delete the images: the map is written."""
        if not keep:
            shutil.rmtree(self.folder.parent)


def add_bag(parser: argparse.ArgumentParser, images: argparse._MutuallyExclusiveGroup) -> None:
    """Describe the arguments.

    Args:
        parser: of the command.
        images: --bag is one of this group.
    """
    images.add_argument(
        "--bag", type=Path, metavar="BAG", help="folder, .mcap or .db3 file, or .bag of ROS 1"
    )
    group = parser.add_argument_group("images of a bag")
    group.add_argument("--topic", help="image topic; needed where the bag has several")
    group.add_argument(
        "--camera-info", metavar="TOPIC", help="default: camera_info beside the image topic"
    )
    group.add_argument(
        "--odom-frame", metavar="FRAME", help="the bag's odometry frame, default: odom"
    )
    group.add_argument(
        "--distance", type=float, metavar="M", help=f"an image every so many metres ({DISTANCE})"
    )
    group.add_argument(
        "--turn", type=float, metavar="DEG", help=f"or where the camera turned so far ({TURN:g})"
    )
    group.add_argument(
        "--every", type=float, metavar="S", help=f"without odometry: every so many s ({EVERY})"
    )
    group.add_argument(
        "--no-odometry",
        action="store_true",
        default=None,
        help="the odometry chooses images, but the map is not brought into its frame",
    )


def take_images(args: argparse.Namespace) -> TakenImages | None:
    """Take the images out of the bag, unless that was done before; None: no bag is given.

    They go to MAP.images, which an interrupted build leaves.

    Raises:
        InputError: the bag cannot be used, or options do not go together.
    """
    if args.bag is None:
        given = [name for name in OPTIONS if getattr(args, name) is not None]
        if given:
            raise InputError(
                f"--{given[0].replace('_', '-')} is of the images of a bag: give --bag"
            )
        return None
    for name in ("model", "camera", "camera_model", "dataset", "places"):
        if getattr(args, name):
            raise InputError(f"--{name.replace('_', '-')} does not go with --bag")
    for name in ("distance", "turn", "every"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name} {value:g}: must be above 0")

    from tqdm import tqdm

    from deviloc_ros.bags.extract import ExtractOptions, extract
    from deviloc_ros.bags.reader import Bag
    from deviloc_ros.datasets.poses import read_poses
    from deviloc_ros.geometry.camera import Camera

    options = ExtractOptions(
        topic=args.topic,
        camera_info=args.camera_info,
        distance=args.distance or DISTANCE,
        turn=math.radians(args.turn or TURN),
        every=args.every or EVERY,
        odom_frame=args.odom_frame or "odom",
    )
    folder = args.output.with_name(f"{args.output.name}.images")
    source, stamp = folder / "source.json", _source(args.bag, asdict(options))
    if not (folder / "images").exists() or not source.exists() or source.read_text() != stamp:
        with Bag(args.bag) as bag:
            total = bag.image_topic(args.topic).count
            shutil.rmtree(folder / "images", ignore_errors=True)
            with tqdm(total=total, unit="image", desc="bag", disable=None) as bar:
                taken = extract(bag, folder, options, bar.update, note)
        for item in taken.left_out[:3]:
            note(f"left out: {item}")
        if len(taken.left_out) > 3:
            note(f"left out: {len(taken.left_out) - 3} more images")
        if taken.damage:
            note(f"{taken.damage}; the map is made of what came before")
        if not taken.poses:
            (folder / "poses.txt").unlink(missing_ok=True)
        source.write_text(stamp)
    poses = folder / "poses.txt"
    odometry = read_poses(poses) if poses.exists() and not args.no_odometry else {}
    camera = Camera.parse((folder / "camera.txt").read_text(encoding="utf-8").strip())
    return TakenImages(folder / "images", camera, odometry)


def odometry_text(fit: MapFit | None) -> str:
    """Return in a line how the map lies in the odometry frame, and how far that drifted."""
    if fit is None:
        return "the bag's odometry is not known or not used: the map is not metric"
    distances = fit.residuals
    return (
        f"metric, z up, by the odometry of {len(fit.names)} images; it drifted against the map by "
        f"{np.median(distances):.3f} m (median), {np.max(distances):.3f} m (most)"
    )


def _source(bag: Path, options: dict[str, Any]) -> str:
    try:
        newest = max(path.stat().st_mtime_ns for path in (bag, *bag.glob("*")))
    except OSError:
        newest = 0  # opening it says what is wrong
    return json.dumps([str(bag.resolve()), newest, options], sort_keys=True, default=str)

"""--bag of `deviloc map build` and `extend`: images of a drive, their camera, its odometry."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deviloc_ros.cli.arguments import note
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.geometry.camera import Camera
    from deviloc_ros.geometry.position_fix import PositionFix
    from deviloc_ros.geometry.transform import Transform
    from deviloc_ros.mapping.drive_frame import DriveFrame

OPTIONS = ("topic", "camera_info", "odom_frame", "fix", "distance", "turn", "every",
           "no_odometry", "no_fixes")  # fmt: skip
DISTANCE, TURN, EVERY = 0.5, 15.0, 0.5


@dataclass(frozen=True)
class TakenImages:
    """Images that were taken out of a bag.

    Attributes:
        folder: of the image files.
        camera: of all of them.
        odometry: camera_from_odometry by name, where it is known.
        fixes: of a satellite receiver, along the odometry.
    """

    folder: Path
    camera: Camera
    odometry: Mapping[str, Transform]
    fixes: Sequence[PositionFix]

    def remove(self, keep: bool) -> None:
        """Delete the images: the map is written."""
        if not keep:
            shutil.rmtree(self.folder.parent)


def add_bag(
    parser: argparse.ArgumentParser, images: argparse._MutuallyExclusiveGroup, frame: bool = True
) -> None:
    """Describe the arguments.

    Args:
        parser: of the command.
        images: --bag is one of this group.
        frame: whether the bag gives the map its frame.
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
    parser.set_defaults(frame_of_bag=frame)
    if not frame:
        parser.set_defaults(fix=None, no_odometry=None, no_fixes=None)
        return
    group.add_argument(
        "--no-odometry",
        action="store_true",
        default=None,
        help="the odometry chooses images, but the map is not brought into its frame",
    )
    group.add_argument(
        "--fix", metavar="TOPIC", help="sensor_msgs/NavSatFix; needed where the bag has several"
    )
    group.add_argument(
        "--no-fixes",
        action="store_true",
        default=None,
        help="do not use satellite fixes: the map's frame is that of the odometry",
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
    for name in ("model", "camera", "cameras", "camera_model", "dataset", "places", "metric"):
        if getattr(args, name, None):
            raise InputError(f"--{name.replace('_', '-')} does not go with --bag")
    for name in ("distance", "turn", "every"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name} {value:g}: must be above 0")

    from tqdm import tqdm

    from deviloc_ros.bags.extract import ExtractOptions, extract
    from deviloc_ros.bags.reader import Bag
    from deviloc_ros.bags.topics import image_topic
    from deviloc_ros.datasets.fixes import read_fixes
    from deviloc_ros.datasets.poses import read_poses
    from deviloc_ros.geometry.camera import Camera

    options = ExtractOptions(
        topic=args.topic,
        camera_info=args.camera_info,
        distance=args.distance or DISTANCE,
        turn=math.radians(args.turn or TURN),
        every=args.every or EVERY,
        odom_frame=args.odom_frame or "odom",
        fix=args.fix if args.frame_of_bag and not args.no_fixes else "",
    )
    folder = args.output.with_name(f"{args.output.name}.images")
    source, stamp = folder / "source.json", _source(args.bag, asdict(options))
    if not (folder / "images").exists() or not source.exists() or source.read_text() != stamp:
        with Bag(args.bag) as bag:
            total = image_topic(bag, args.topic).count
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
        if not taken.fixes:
            (folder / "fixes.txt").unlink(missing_ok=True)
        source.write_text(stamp)
    poses = folder / "poses.txt"
    odometry = read_poses(poses) if poses.exists() and not args.no_odometry else {}
    places = folder / "fixes.txt"
    fixes = read_fixes(places) if places.exists() and not args.no_fixes else []
    camera = Camera.parse((folder / "camera.txt").read_text(encoding="utf-8").strip())
    return TakenImages(folder / "images", camera, odometry, fixes)


def drive_text(drive: DriveFrame | None) -> list[str]:
    """Return in lines how the map lies in the frame of its drive, and how far odometry drifted."""
    if drive is None:
        return ["the bag's odometry is not known or not used: the map is not metric"]
    lines = [
        f"metric, z up, by the odometry of {drive.num_odometry} images; it drifted against the map "
        f"by {np.median(drive.drift):.3f} m (median), {np.max(drive.drift):.3f} m (most); a metre "
        f"of it is {drive.odometry_scale:.4f} m"
    ]
    if drive.origin is not None:
        latitude, longitude, altitude = drive.origin
        lines.append(
            f"x east, y north; origin latitude {latitude:.7f}, longitude {longitude:.7f}, altitude "
            f"{altitude:.2f}; {drive.num_fixes} fixes are {drive.fix_error:.2f} m off in the plane "
            f"(rms), {drive.num_left_out} were left out as wrong"
        )
    if drive.note:
        lines.append(f"the frame is that of odometry: {drive.note}")
    return lines


def _source(bag: Path, options: dict[str, Any]) -> str:
    try:
        newest = max(path.stat().st_mtime_ns for path in (bag, *bag.glob("*")))
    except OSError:
        newest = 0  # opening it says what is wrong
    return json.dumps([str(bag.resolve()), newest, options], sort_keys=True, default=str)

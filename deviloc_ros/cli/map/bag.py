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
    from deviloc_ros.bags.extraction.extract import ExtractOptions
    from deviloc_ros.bags.extraction.sources import CameraSource
    from deviloc_ros.geometry.camera import Camera
    from deviloc_ros.geometry.mounted_camera import MountedCamera
    from deviloc_ros.geometry.position_fix import PositionFix
    from deviloc_ros.geometry.transform import Transform
    from deviloc_ros.mapping.drive_frame import DriveFrame

OPTIONS = ("topic", "camera_info", "rig", "odom_frame", "odometry", "fix", "distance", "turn",
           "every", "overlap", "no_odometry", "no_fixes")  # fmt: skip
DISTANCE, TURN, OVERLAP = 0.5, 15.0, 0.65


@dataclass(frozen=True)
class TakenImages:
    """Images that were taken out of a bag.

    Attributes:
        folder: of the image files.
        camera: of all of them; None: those of a rig.
        rig: cameras and their places by the name of the folder of their images; empty: no rig.
        odometry: camera_from_odometry by name, where it is known.
        fixes: of a satellite receiver, along the odometry.
        choice: how many images there were, and why others were not taken (written.py).
    """

    folder: Path
    camera: Camera | None
    rig: Mapping[str, MountedCamera]
    odometry: Mapping[str, Transform]
    fixes: Sequence[PositionFix]
    choice: Mapping[str, Any]

    @property
    def cameras(self) -> dict[str, Camera]:
        """The camera of each image, by its name below the folder."""
        from deviloc_ros.datasets.image_folder import list_images

        names = list_images(self.folder)
        if self.camera is not None:
            return dict.fromkeys(names, self.camera)
        return {name: self.rig[name.partition("/")[0]].camera for name in names}

    @property
    def text(self) -> str:
        """How many images there were and were taken, in a line."""
        blurred = len(self.choice["blurred"])
        text = f"{self.choice['taken']} of {self.choice['images']} images of the bag were taken"
        text += f", {blurred} of them blurred" if blurred else ""
        damage = self.choice["damage"]
        return f"{text}; {damage}" if damage else text

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
    group.add_argument(
        "--topic",
        action="append",
        metavar="[NAME=]TOPIC",
        help="image topic; needed where the bag has several; once for each camera of a rig, whose "
        "images are chosen by those of the first",
    )
    group.add_argument(
        "--camera-info", metavar="TOPIC", help="default: camera_info beside the image topic"
    )
    group.add_argument(
        "--rig",
        type=Path,
        metavar="FILE",
        help="cameras of a rig with topics, intrinsics and extrinsics ('deviloc bag --help'); "
        "without it, camera_info and the bag's transforms tell them",
    )
    group.add_argument(
        "--odom-frame", metavar="FRAME", help="the bag's odometry frame, default: odom"
    )
    group.add_argument(
        "--odometry",
        metavar="TOPIC",
        help="nav_msgs/Odometry to use; default: /tf, else the only such topic in that frame",
    )
    group.add_argument(
        "--distance", type=float, metavar="M", help=f"an image every so many metres ({DISTANCE})"
    )
    group.add_argument(
        "--turn", type=float, metavar="DEG", help=f"or where the camera turned so far ({TURN:g})"
    )
    group.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="or where less than this share of the last image is still seen "
        f"({OVERLAP:g}); of images that follow closely the sharpest is taken",
    )
    group.add_argument(
        "--every",
        type=float,
        metavar="S",
        help="without odometry: every so many s; default: what the images show decides",
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
    for name in ("model", "cameras", "camera_model", "dataset", "places", "metric"):
        if getattr(args, name, None):
            raise InputError(f"--{name.replace('_', '-')} does not go with --bag")
    for name in ("distance", "turn", "every"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name} {value:g}: must be above 0")
    if args.overlap is not None and not 0 < args.overlap < 1:
        raise InputError(f"--overlap {args.overlap:g}: must be between 0 and 1")

    from deviloc_ros.bags.extraction.written import read_rig
    from deviloc_ros.datasets.fixes import read_fixes
    from deviloc_ros.datasets.poses import read_poses
    from deviloc_ros.geometry.camera import Camera

    options = _options(args)
    folder = args.output.with_name(f"{args.output.name}.images")
    source, stamp = folder / "source.json", _source(args.bag, asdict(options))
    if not (folder / "images").exists() or not source.exists() or source.read_text() != stamp:
        shutil.rmtree(folder / "images", ignore_errors=True)
        _extract(args.bag, folder, options)
        source.write_text(stamp)
    poses, places, rig = (folder / name for name in ("poses.txt", "fixes.txt", "rig.json"))
    one = folder / "camera.txt"
    return TakenImages(
        folder / "images",
        Camera.parse(one.read_text(encoding="utf-8").strip()) if one.exists() else None,
        read_rig(rig) if rig.exists() else {},
        read_poses(poses) if poses.exists() and not args.no_odometry else {},
        read_fixes(places) if places.exists() and not args.no_fixes else [],
        json.loads((folder / "choice.json").read_text(encoding="utf-8")),
    )


def _options(args: argparse.Namespace) -> ExtractOptions:
    from deviloc_ros.bags.extraction.extract import ExtractOptions
    from deviloc_ros.bags.extraction.frame_choice import ChoiceOptions

    cameras, base = _cameras(args)
    return ExtractOptions(
        cameras=cameras,
        choice=ChoiceOptions(
            args.distance or DISTANCE,
            math.radians(args.turn or TURN),
            args.every,
            args.overlap or OVERLAP,
        ),
        odom_frame=args.odom_frame or "odom",
        odometry=args.odometry,
        base=base,
        fix=args.fix if args.frame_of_bag and not args.no_fixes else "",
    )


def _cameras(args: argparse.Namespace) -> tuple[tuple[CameraSource, ...], str | None]:
    """Return the cameras that the arguments name, and the frame of their mounts."""
    from deviloc_ros.bags.extraction.sources import CameraSource
    from deviloc_ros.geometry.camera import Camera
    from deviloc_ros.offline.bag_cameras import named_topics
    from deviloc_ros.offline.rig_file import read_rig
    from deviloc_ros.ros.config.node_config import NodeConfig

    topics = named_topics(args.topic or [])
    if args.rig is None:
        if len(topics) < 2:
            camera = Camera.parse(args.camera) if args.camera else None
            topic = next(iter(topics.values()), None)
            return (CameraSource("", topic, args.camera_info, camera),), None
        for name in ("camera", "camera_info"):
            if getattr(args, name) is not None:
                raise InputError(
                    f"--{name.replace('_', '-')} is of a single camera; for a rig, give "
                    "camera and camera_info of each in --rig FILE"
                )
        return tuple(CameraSource(name, topic) for name, topic in topics.items()), None
    described = read_rig(args.rig, NodeConfig)
    if not described.cameras:
        raise InputError(f"{args.rig}: has no topics; give 'cameras: NAME: topic: ...'")
    if topics:
        raise InputError("--rig FILE has the topics: leave out --topic")
    cameras = [
        CameraSource(name, item.topic, item.camera_info, item.camera, item.rectified, item.mount)
        for name, item in described.cameras.items()
    ]
    return tuple(cameras), described.values.get("frames.base")


def _extract(bag_path: Path, folder: Path, options: ExtractOptions) -> None:
    """Write the images into the folder, and tell what became of them."""
    from tqdm import tqdm

    from deviloc_ros.bags.extraction.extract import extract
    from deviloc_ros.bags.reader import Bag
    from deviloc_ros.bags.topics import image_topic

    with Bag(bag_path) as bag:
        total = image_topic(bag, options.cameras[0].topic).count
        with tqdm(total=total, unit="image", desc="bag", disable=None) as bar:
            taken = extract(bag, folder, options, bar.update, note)
    for item in taken.left_out[:3]:
        note(f"left out: {item}")
    if len(taken.left_out) > 3:
        note(f"left out: {len(taken.left_out) - 3} more images")
    for reason, count in sorted(taken.passed.items()):
        note(f"of {taken.total} images passed over, as each {reason}: {count}")
    blurred = sum(item.blurred for item in taken.chosen.values())
    if blurred:
        note(f"{blurred} of {len(taken.chosen)} images that were taken are blurred")
    if taken.damage:
        note(f"{taken.damage}; the map is made of what came before")


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

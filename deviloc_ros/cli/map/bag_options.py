"""The options of --bag: which images of a drive, of which cameras, with which odometry."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.bags.extraction.extract import ExtractOptions
    from deviloc_ros.bags.extraction.sources import CameraSource

OPTIONS = ("topic", "camera_info", "rig", "odom_frame", "odometry", "fix", "distance", "turn",
           "every", "overlap", "no_odometry", "no_fixes")  # fmt: skip
DISTANCE, TURN, OVERLAP = 0.5, 15.0, 0.65


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


def uses_bag(args: argparse.Namespace) -> bool:
    """Say whether images come from a bag.

    Raises:
        InputError: options do not go together.
    """
    if args.bag is None:
        given = [name for name in OPTIONS if getattr(args, name) is not None]
        if given:
            raise InputError(
                f"--{given[0].replace('_', '-')} is of the images of a bag: give --bag"
            )
        return False
    for name in ("model", "cameras", "camera_model", "dataset", "places", "metric"):
        if getattr(args, name, None):
            raise InputError(f"--{name.replace('_', '-')} does not go with --bag")
    for name in ("distance", "turn", "every"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name} {value:g}: must be above 0")
    if args.overlap is not None and not 0 < args.overlap < 1:
        raise InputError(f"--overlap {args.overlap:g}: must be between 0 and 1")
    return True


def extract_options(args: argparse.Namespace) -> ExtractOptions:
    """Return what the arguments say."""
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

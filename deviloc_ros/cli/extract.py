"""`deviloc extract`: images out of a rosbag2, to make a map of."""

from __future__ import annotations

import argparse
import math

from deviloc_ros.cli.arguments import Subparsers, add_bag_images, add_command, note, tell_left_out
from deviloc_ros.errors import InputError

DESCRIPTION = """\
Write the images of a bag (rosbag2, or a .bag of ROS 1) into a folder, to make a map of them. Where
the bag's transforms tell the camera's place in the odometry frame, one image every --distance
metres is taken; elsewhere one every --every seconds. No ROS is needed.

--output is a folder that gets
  images/        STAMP.png, the stamp in nanoseconds
  camera.txt     the camera, as 'deviloc map build --camera' takes it
  poses.txt      'name qw qx qy qz tx ty tz', odometry frame to camera; only where the bag's
                 transforms tell them
  positions.txt  'name x y z' in the odometry frame, as 'deviloc map align --positions' takes them;
                 only where the bag's transforms tell them"""

EXAMPLES = """\
  deviloc extract drive/ --output place/
  deviloc map build --images place/images --camera "$(cat place/camera.txt)" --output place.devmap
  deviloc map align place.devmap --positions place/positions.txt"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        subparsers, "extract", "images out of a rosbag2, for a map", DESCRIPTION, EXAMPLES
    )
    add_bag_images(parser)
    parser.add_argument(
        "--distance", type=float, default=0.5, metavar="M", help="between images, default 0.5"
    )
    parser.add_argument(
        "--turn",
        type=float,
        default=math.inf,
        metavar="DEG",
        help="take an image, too, where the camera has turned so far; default: never",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=0.5,
        metavar="S",
        help="between images whose place is not known, default 0.5",
    )


def run(args: argparse.Namespace) -> int:
    """Take the images out."""
    from tqdm import tqdm

    from deviloc_ros.bags.extraction.extract import ExtractOptions, extract
    from deviloc_ros.bags.extraction.frame_choice import ChoiceOptions
    from deviloc_ros.bags.extraction.sources import CameraSource
    from deviloc_ros.bags.reader import Bag
    from deviloc_ros.bags.topics import image_topic

    for name in ("distance", "every"):
        if not 0 <= getattr(args, name) < math.inf:
            raise InputError(f"--{name} {getattr(args, name):g}: must be 0 or more")
    if not args.turn > 0:
        raise InputError(f"--turn {args.turn:g}: must be above 0")
    source = CameraSource("", args.topic, args.camera_info, rectified=args.rectified)
    choice = ChoiceOptions(args.distance, math.radians(args.turn), args.every)
    options = ExtractOptions((source,), choice, args.odom_frame or "odom")
    with Bag(args.bag) as bag:
        total = image_topic(bag, args.topic).count
        with tqdm(total=total, unit="image", desc="extract") as bar:
            result = extract(bag, args.output, options, bar.update, note)
    known = f", {len(result.positions)} with their place" if result.positions else ""
    tell_left_out(result.left_out)
    print(
        f"{args.output}: {len(result.names)} of {total} images{known}"
        + (f", {len(result.left_out)} could not be used" if result.left_out else "")
    )
    if result.damage:
        raise InputError(f"{result.damage}; what came before it was taken out")
    return 0

"""`deviloc play`: publish a rosbag2 over ROS 2."""

from __future__ import annotations

import argparse
import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path

from deviloc_ros.cli.arguments import Subparsers, add_command
from deviloc_ros.errors import InputError

DESCRIPTION = """\
Publish every message of a bag (rosbag2, or a .bag of ROS 1) over ROS 2, with the recorded timing
and quality of service. Where ROS 2 is fully installed, 'ros2 bag play' does the same; this needs
only rclpy."""

EXAMPLES = """\
  deviloc play drive/ --clock
  deviloc play drive/ --rate 0.5 --loop --clock
  deviloc play drive/ --remap /camera/image_raw:=/image --wait-for /image"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(subparsers, "play", "publish a rosbag2 over ROS 2", DESCRIPTION, EXAMPLES)
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder, or .mcap or .db3 file")
    parser.add_argument(
        "--rate", type=float, default=1.0, metavar="R", help="bag seconds per second, default 1"
    )
    parser.add_argument("--loop", action="store_true", help="begin again at the end, until Ctrl-C")
    parser.add_argument(
        "--clock", action="store_true", help="publish /clock, for nodes with use_sim_time"
    )
    parser.add_argument(
        "--topics", nargs="+", default=[], metavar="TOPIC", help="only these topics"
    )
    parser.add_argument(
        "--remap",
        action="append",
        default=[],
        metavar="OLD:=NEW",
        help="rename a topic; repeatable",
    )
    parser.add_argument(
        "--wait-for",
        action="append",
        default=[],
        metavar="TOPIC",
        help="begin when somebody subscribes to this topic; repeatable",
    )
    parser.add_argument(
        "--sources",
        action="store_true",
        help="play nothing; print as JSON which topics a localization node would read",
    )
    parser.add_argument(
        "--cameras", nargs="*", default=[], metavar="NAME", help="of --sources: a rig's cameras"
    )
    parser.add_argument(
        "--image", default="", metavar="TOPIC", help="of --sources: of a rig below each name"
    )
    parser.add_argument(
        "--camera-info", default="", metavar="TOPIC", help="of --sources: default: beside image"
    )
    parser.add_argument(
        "--wait-seconds", type=float, default=30.0, metavar="S", help="longest wait, default 30"
    )


def run(args: argparse.Namespace) -> int:
    """Play the bag."""
    from deviloc_ros.bags.reader import Bag

    if args.sources:
        from deviloc_ros.bags.sources import Sources

        found = Sources.find(args.bag, args.cameras, args.image, args.camera_info)
        print(json.dumps(found.to_json()))
        return 0
    if not 0 < args.rate < math.inf:
        raise InputError(f"--rate {args.rate:g}: must be above 0")
    if not 0 <= args.wait_seconds < math.inf:
        raise InputError(f"--wait-seconds {args.wait_seconds:g}: must be 0 or more")
    remaps = {}
    for rule in args.remap:
        old, separator, new = rule.partition(":=")
        if not separator or not old or not new:
            raise InputError(f"--remap {rule}: expected OLD:=NEW")
        remaps[old] = new
    if find_spec("rclpy") is None:
        raise InputError(
            "play needs ROS 2's rclpy, which this Python does not have; source a ROS 2 "
            "installation, or use ./run deviloc"
        )
    from deviloc_ros.ros.tools.player import PlayOptions, play_bag

    options = PlayOptions(
        rate=args.rate,
        loop=args.loop,
        clock=args.clock,
        topics=tuple(args.topics),
        remaps=remaps,
        wait_for=tuple(args.wait_for),
        wait_seconds=args.wait_seconds,
    )
    with Bag(args.bag) as bag:
        count = play_bag(bag, options, lambda text: print(text, file=sys.stderr))
    print(f"published {count} messages of {args.bag}")
    return 0

"""`deviloc bag`: localize every image of a rosbag2, without middleware."""

from __future__ import annotations

import argparse
from pathlib import Path

from deviloc_ros.cli.arguments import (
    RECTIFIED,
    Subparsers,
    add_bag_images,
    add_command,
    add_config,
    load_config,
)

DESCRIPTION = """\
Localize every image of a rosbag2 (sqlite3 or mcap, folder or single file), frame by frame. No ROS
is needed; the node gives the same poses for the same images.

--output is a folder that gets
  poses_tum.txt  stamp tx ty tz qx qy qz qw: pose of the base (or of the camera) in the map frame
  poses.txt      name qw qx qy qz tx ty tz: camera_from_map, the name being the stamp
  poses          a bag (mcap) with /localization/pose (PoseWithCovarianceStamped) and /tf
  summary.json   what became of each image, with reasons, covariances and stage times
Ctrl-C ends it early; the files then hold what was done."""

EXAMPLES = """\
  deviloc bag place.devmap drive/ --output result/
  deviloc bag place.devmap drive.mcap --topic /camera/image_raw --output result/
  deviloc bag place.devmap drive/ --camera "PINHOLE 640 480 500 500 320 240" --output result/"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        subparsers, "bag", "localize the images of a rosbag2", DESCRIPTION, EXAMPLES
    )
    parser.add_argument("map", type=Path, metavar="MAP", help="map file of 'deviloc map build'")
    add_bag_images(parser)
    parser.add_argument(
        "--camera",
        metavar="'MODEL w h PARAMS'",
        help="COLMAP camera instead of camera_info, first pixel's centre at 0.5",
    )
    parser.add_argument(
        "--base",
        metavar="FRAME",
        help="frame whose pose is written; default: base_link where the bag's transforms join it "
        "with the camera, else the camera",
    )
    parser.add_argument("--map-frame", default="map", metavar="FRAME", help="default: map")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Localize the bag and write the results."""
    from tqdm import tqdm

    from deviloc_ros.bags.reader import Bag
    from deviloc_ros.errors import InputError
    from deviloc_ros.geometry.camera import Camera
    from deviloc_ros.offline.bag import BagOptions, localize_bag

    config = load_config(args)
    options = BagOptions(
        topic=args.topic,
        camera_info=args.camera_info,
        camera=Camera.parse(args.camera) if args.camera else None,
        rectified=RECTIFIED[args.rectified],
        base=args.base,
        map_frame=args.map_frame,
        odom_frame=args.odom_frame,
    )
    with Bag(args.bag) as bag:
        bag.image_topic(args.topic)
        if args.output.exists() and not args.output.is_dir():
            raise InputError(f"{args.output}: is a file; --output names a folder")
        args.output.mkdir(parents=True, exist_ok=True)
        # Loading networks takes seconds: what can be wrong with the bag is said before.
        from deviloc_ros.localization import Localizer

        localizer = Localizer.load(args.map, config)
        result = localize_bag(
            localizer,
            args.map,
            bag,
            options,
            lambda items, total: tqdm(items, total=total, unit="image", desc="localize"),
        )
    result.write(args.output)
    print(result.line())
    if result.interrupted:
        raise KeyboardInterrupt
    return 0 if result.localized else 3

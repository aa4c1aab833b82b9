"""`deviloc bag`: localize every image of a rosbag2, without middleware."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import (
    Subparsers,
    add_bag_images,
    add_command,
    add_config,
    assignments,
    note,
    tell_left_out,
)

if TYPE_CHECKING:
    from deviloc_ros.offline.bag_cameras import CameraChoice
    from deviloc_ros.robot.config import RobotConfig

DESCRIPTION = """\
Localize every image of a bag (rosbag2, or a .bag of ROS 1), frame by frame, as the
node does and with the same poses; no ROS is needed. Odometry (/tf, else nav_msgs/Odometry) carries
the last pose to the next image (tracking.*); /initialpose and, with gnss.enabled, satellite fixes
narrow the search. --set tracking.enabled=false searches the whole map for every image.

A rig of several cameras gives one pose an instant: name its topics with --topic A --topic B, or
describe it in --rig FILE:
  base: base_link                       # optional: the frame whose pose is reported
  sync: {tolerance: 0.02}               # optional: stamps of one instant, s
  cameras:
    left:
      topic: /cam0/image_raw
      camera_info: /cam0/camera_info    # optional: default beside the images
      camera: "OPENCV 752 480 458 457 367.7 249 -0.28 0.07 0 0"  # optional: instead of camera_info
      rectified: auto                   # optional: auto, yes or no
      extrinsics:                       # optional: base_from_camera; default the bag's transforms
        translation: [0.1, 0.2, 1.0]    # x y z, m
        rotation: [-0.5, 0.5, -0.5, 0.5]  # unit quaternion x y z w; the camera has z forward
    right:
      topic: /cam1/image_raw
A parameter file of the node (/**: ros__parameters: cameras: [left, right] ...) is taken as well;
its cameras are the image topics with /left/ and /right/ in them, or --topic left=TOPIC.

--output is a folder that gets
  poses_tum.txt  stamp tx ty tz qx qy qz qw: pose of the base (or of the camera) in the map frame
  poses.txt      name qw qx qy qz tx ty tz: camera_from_map; the name is the stamp, of a rig
                 stamp/camera for each camera that contributed
  poses          a bag (mcap) with /localization/pose (PoseWithCovarianceStamped) and /tf
  summary.json   what became of each image, with reasons, covariances, search and stage times; of a
                 rig what each camera contributed
  view.html      with --view: the map and the poses with their covariances, in 3D, in a browser
Ctrl-C ends it early; the files then hold what was done."""

VIEW = "view.html"

EXAMPLES = """\
  deviloc bag place.devmap drive/ --output result/
  deviloc bag place.devmap drive.mcap --topic /camera/image_raw --output result/
  deviloc bag place.devmap drive/ --camera "PINHOLE 640 480 500 500 320 240" --output result/
  deviloc bag place.devmap drive/ --topic /left/image_raw --topic /right/image_raw --output result/
  deviloc bag place.devmap drive/ --rig rig.yaml --output result/
  deviloc bag --keys                                         # all keys that --set takes"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        subparsers, "bag", "localize the images of a rosbag2", DESCRIPTION, EXAMPLES
    )
    parser.add_argument("map", type=Path, metavar="MAP", help="map file of 'deviloc map build'")
    add_bag_images(parser, several=True)
    parser.add_argument(
        "--camera",
        metavar="'MODEL w h PARAMS'",
        help="COLMAP camera instead of camera_info, first pixel's centre at 0.5",
    )
    parser.add_argument("--rig", type=Path, metavar="FILE", help="the cameras of a rig, see above")
    parser.add_argument(
        "--base",
        metavar="FRAME",
        help="frame whose pose is written; default: base_link; for a single camera that the bag's "
        "transforms do not join with it, the camera",
    )
    parser.add_argument("--map-frame", metavar="FRAME", help="default: map")
    parser.add_argument(
        "--odometry",
        metavar="TOPIC",
        help="nav_msgs/Odometry to use; default: /tf, else the only such topic in the frame of "
        "--odom-frame",
    )
    parser.add_argument(
        "--fix", metavar="TOPIC", help="sensor_msgs/NavSatFix, with gnss.enabled; default: /fix"
    )
    parser.add_argument(
        "--view", action="store_true", help="write view.html, which summary.json names"
    )
    add_config(parser, of_robot=True)


def run(args: argparse.Namespace) -> int:
    """Localize the bag and write the results."""
    from tqdm import tqdm

    from deviloc_ros.bags.reader import Bag
    from deviloc_ros.errors import InputError
    from deviloc_ros.offline.bag import localize_bag
    from deviloc_ros.offline.bag_robot import bag_robot

    config, choice = _configure(args)
    with Bag(args.bag) as bag:
        # Loading networks takes seconds: what can be wrong with the bag is said before.
        robot = bag_robot(bag, config, choice, args.odometry, args.fix)
        if args.output.exists() and not args.output.is_dir():
            raise InputError(f"{args.output}: is a file; --output names a folder")
        args.output.mkdir(parents=True, exist_ok=True)
        from deviloc_ros.localization import Localizer

        localizer = Localizer.load(args.map, config)
        for camera in robot.cameras:
            note(f"{camera.topic.name}: {camera.decided}")
        note(f"odometry: {robot.odometry}")
        if len(robot.cameras) > 1:
            localizer.warm_up(len(robot.cameras))
        result = localize_bag(
            localizer,
            args.map,
            robot,
            lambda items, total: tqdm(items, total=total, unit="image", desc="localize"),
            tell=note,
        )
    result.write(args.output, VIEW if args.view else None)
    if args.view:
        from deviloc_ros.mapping.pages.view_page import write_view

        page = args.output / VIEW
        write_view(
            page, localizer.map, result.camera_poses, result.camera_covariances, args.map.name
        )
        note(f"{page}: open it in a browser")
    tell_left_out(result.left_out)
    print(result.line())
    if result.damage:
        raise InputError(f"{result.damage}; {args.output} holds what came before it")
    if result.interrupted:
        raise KeyboardInterrupt
    return 0 if result.localized else 3


def _configure(args: argparse.Namespace) -> tuple[RobotConfig, CameraChoice]:
    """Return the configuration, and what the arguments say of cameras."""
    from deviloc_ros.config import load
    from deviloc_ros.geometry.camera import Camera
    from deviloc_ros.offline.bag_cameras import CameraChoice, named_topics
    from deviloc_ros.offline.rig_file import RigDescription, read_rig
    from deviloc_ros.robot.config import RobotConfig
    from deviloc_ros.ros.config.node_config import NodeConfig

    topics = named_topics(args.topic)
    rig = RigDescription({}, {})
    if args.rig is not None:
        rig = read_rig(args.rig, NodeConfig)
    elif any(topics):
        rig = RigDescription({"cameras": list(topics)}, {})
    texts = assignments(args)
    for name, value in (
        ("frames.base", args.base),
        ("frames.map", args.map_frame),
        ("frames.odom", args.odom_frame),
        ("image.rectified", None if args.rectified == "auto" else args.rectified),
    ):
        if value is not None:
            texts.append(f"{name}={json.dumps(value)}")
    config = load(RobotConfig, args.config, texts, rig.values)
    camera = Camera.parse(args.camera) if args.camera else None
    return config, CameraChoice(topics, rig.cameras, args.camera_info, camera)

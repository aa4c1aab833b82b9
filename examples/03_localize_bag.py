#!/usr/bin/env python3
"""Localize every image of a rosbag2, or every instant of a rig of cameras. No ROS is needed.

python examples/03_localize_bag.py place.devmap drive/ result/
python examples/03_localize_bag.py place.devmap drive/ result/ --rig rig.yaml
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from deviloc_ros import InputError, Localizer
from deviloc_ros.bags.reader import Bag
from deviloc_ros.config import load
from deviloc_ros.offline.bag import localize_bag
from deviloc_ros.offline.bag_cameras import CameraChoice
from deviloc_ros.offline.bag_results import FrameResult
from deviloc_ros.offline.bag_robot import bag_robot
from deviloc_ros.offline.rig_file import RigDescription, read_rig
from deviloc_ros.robot.config import RobotConfig
from deviloc_ros.robot.outcome import Outcome


def main() -> int:
    """Return the exit code: 0 if an image was localized, else 3."""
    parser = argparse.ArgumentParser(description="Localize the images of a rosbag2.")
    parser.add_argument("map", type=Path, help="a map of 'deviloc map build' or example 02")
    parser.add_argument("bag", type=Path, help="sqlite3 or mcap, a folder or a single file")
    parser.add_argument("output", type=Path, help="folder for trajectory, poses and summary")
    parser.add_argument("--rig", type=Path, help="rig.yaml, see 'deviloc bag --help'")
    args = parser.parse_args()

    try:
        rig = read_rig(args.rig, RobotConfig) if args.rig else RigDescription({}, {})
        config = load(RobotConfig, None, [], rig.values)  # the keys of 'deviloc bag --keys'
        args.output.mkdir(parents=True, exist_ok=True)
        with Bag(args.bag) as bag:
            # Finds topics, calibration, extrinsics and odometry, or says what is missing.
            robot = bag_robot(bag, config, CameraChoice(described=rig.cameras))
            print(f"cameras: {', '.join(camera.topic.name for camera in robot.cameras)}")
            print(f"odometry: {robot.odometry}")
            localizer = Localizer.load(args.map, config)
            # As the node does it: odometry carries the last pose to the next image.
            run = localize_bag(localizer, args.map, robot, watch=print_result, tell=print)
        run.write(args.output)
    except InputError as error:
        parser.error(str(error))
    print(run.line())
    return 0 if run.localized else 3


def print_result(result: FrameResult, outcome: Outcome) -> None:
    """Print one line an instant: stamp, position of the base and its sigma, or the reason."""
    if result.map_from_body is None or result.covariance is None:
        print(f"{result.name}  {result.reason}: {result.details}")
        return
    x, y, z = result.map_from_body.translation
    sigma = np.sqrt(result.covariance.diagonal()[:3].max())
    by_camera = "".join(f", {name} {count}" for name, count in outcome.cameras.items())
    print(f"{result.name}  {x:.3f} {y:.3f} {z:.3f}  sigma {sigma:.3f}{by_camera}")


if __name__ == "__main__":
    raise SystemExit(main())

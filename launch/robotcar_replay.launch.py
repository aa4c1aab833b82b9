"""Replay a RobotCar bag to the node as a rig, record its poses and compare them with the true ones.

The bag is one of `deviloc robotcar to-bag`, the map one in the frame of its true poses, such as the
index of `deviloc map build --dataset robotcar-seasons` (docs/robotcar.md).

ros2 launch deviloc_ros robotcar_replay.launch.py map:=oxford.devtiles bag:=night/ output:=result/
ros2 launch deviloc_ros robotcar_replay.launch.py map:=oxford.devtiles bag:=drive/ \
    output:=result/ rate:=0.5 cameras:=rear
"""

from collections.abc import Sequence

from deviloc_ros.ros.launch.launching import Argument, launch_file, share
from deviloc_ros.ros.launch.replay import REPLAY_ARGUMENTS, replay, sources
from launch import Action, LaunchDescription

ARGUMENTS = {
    **REPLAY_ARGUMENTS,
    "cameras": Argument("left,rear,right", "which of the bag's cameras, separated by commas"),
    "image": Argument(
        "image_rect", "image topic below each camera; image_raw in bags made with --images raw"
    ),
}


def start(values: dict[str, str]) -> Sequence[Action]:
    """Return node, player and recorder."""
    names = [name.strip() for name in values["cameras"].split(",") if name.strip()]
    found = sources(values, names, values["image"], "")
    return replay(values, found, share("config/robotcar_rig.yaml"))


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and all processes."""
    return launch_file(ARGUMENTS, start)

"""Play a bag to the localization node, record its poses and compare them with the truth.

ros2 launch deviloc_ros replay.launch.py map:=street.devmap bag:=drive/ output:=result/
ros2 launch deviloc_ros replay.launch.py map:=street.devmap bag:=drive/ output:=result/ \
    cameras:=left,rear,right image:=image_raw truth:=truth_tum.txt
"""

from collections.abc import Sequence

from deviloc_ros.ros.launch.arguments import Argument
from deviloc_ros.ros.launch.launching import launch_file, share
from deviloc_ros.ros.launch.replay import REPLAY_ARGUMENTS, replay, sources
from launch import Action, LaunchDescription

ARGUMENTS = {
    **REPLAY_ARGUMENTS,
    "cameras": Argument("", "of a rig: names of the cameras, separated by commas; empty: one"),
    "image": Argument("", "image topic, of a rig that below each name; empty: the bag's only one"),
    "camera_info": Argument("", "calibration topic; empty: camera_info beside the images"),
}


def start(values: dict[str, str]) -> Sequence[Action]:
    """Return node, player and recorder."""
    names = [name.strip() for name in values["cameras"].split(",") if name.strip()]
    found = sources(values, names, values["image"], values["camera_info"])
    default = share("config/rig.yaml" if names else "config/one_camera.yaml")
    return replay(values, found, default)


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and all processes."""
    return launch_file(ARGUMENTS, start)

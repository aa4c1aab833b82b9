"""Start the localization node for one camera and bring it to the active state.

ros2 launch deviloc_ros localization.launch.py map:=street.devmap image:=/front/image_raw \
    camera_info:=/front/camera_info
"""

from collections.abc import Sequence

from deviloc_ros.ros.launch.arguments import ONE_CAMERA_ARGUMENTS
from deviloc_ros.ros.launch.launching import launch_file, localization, share
from launch import Action, LaunchDescription


def start(values: dict[str, str]) -> Sequence[Action]:
    """Return the node."""
    remaps = [("image", values["image"]), ("camera_info", values["camera_info"])]
    return localization(values, share("config/one_camera.yaml"), remaps)


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return launch_file(ONE_CAMERA_ARGUMENTS, start)

"""Start the localization node for one camera and bring it to the active state.

ros2 launch deviloc_ros localization.launch.py map:=street.devmap image:=/front/image_raw \
    camera_info:=/front/camera_info
"""

from collections.abc import Sequence

from deviloc_ros.ros.launching import NODE_ARGUMENTS, Argument, launch_file, localization, share
from launch import Action, LaunchDescription

ARGUMENTS = {
    **NODE_ARGUMENTS,
    "image": Argument("image", "image topic; with compressed transport without /compressed"),
    "camera_info": Argument("camera_info", "topic of the camera's calibration"),
}


def start(values: dict[str, str]) -> Sequence[Action]:
    """Return the node."""
    remaps = [("image", values["image"]), ("camera_info", values["camera_info"])]
    return localization(values, share("config/one_camera.yaml"), remaps)


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return launch_file(ARGUMENTS, start)

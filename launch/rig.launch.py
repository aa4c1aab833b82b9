"""Start the localization node for a robot with several cameras and bring it to the active state.

ros2 launch deviloc_ros rig.launch.py map:=street.devmap cameras:=left,rear,right image:=image_raw
"""

from collections.abc import Sequence

from deviloc_ros.ros.launch.arguments import NODE_ARGUMENTS, Argument
from deviloc_ros.ros.launch.launching import launch_file, localization, own_dds_profile, share
from launch import Action, LaunchDescription

ARGUMENTS = {
    **NODE_ARGUMENTS,
    "dds_profile": Argument(
        "",
        "Fast DDS profile for the nodes; empty: the package's own, for images larger than 0.5 MB, "
        "unless the environment names one",
    ),
    "cameras": Argument(
        "", "names of the cameras, separated by commas; empty: those of params_file"
    ),
    "image": Argument("image", "image topic below each camera's name, without /compressed"),
    "camera_info": Argument("camera_info", "calibration topic below each camera's name"),
}


def start(values: dict[str, str]) -> Sequence[Action]:
    """Return the node."""
    names = [name.strip() for name in values["cameras"].split(",") if name.strip()]
    renamed = [topic for topic in ("image", "camera_info") if values[topic] != topic]
    if renamed and not names:
        raise RuntimeError(f"{renamed[0]}:={values[renamed[0]]} needs cameras:=NAME,NAME,...")
    remaps = [(f"{name}/{topic}", f"{name}/{values[topic]}") for name in names for topic in renamed]
    parameters = {"cameras": names} if names else {}
    values = {**values, "dds_profile": values["dds_profile"] or own_dds_profile()}
    return localization(values, share("config/rig.yaml"), remaps, parameters)


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return launch_file(ARGUMENTS, start)

"""Start the localization node for one camera and bring it to the active state.

ros2 launch deviloc_ros localization.launch.py map:=street.devmap image:=/front/image_raw \
    camera_info:=/front/camera_info
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

ARGUMENTS = {
    "map": ("", "map file, made by `deviloc map build`"),
    "image": ("image", "image topic; with compressed transport the topic without /compressed"),
    "camera_info": ("camera_info", "topic of the camera's calibration"),
    "params_file": ("", "parameters as YAML; empty: config/one_camera.yaml of this package"),
    "namespace": ("", "namespace of the node: one for each robot"),
    "name": ("localization", "name of the node"),
    "use_sim_time": ("false", "take the time from /clock, as with bags and simulators"),
    "autostart": ("true", "configure and activate; false: leave that to a lifecycle manager"),
    "log_level": ("info", "debug, info, warn or error"),
}


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    defaults = Path(get_package_share_directory("deviloc_ros")) / "config" / "one_camera.yaml"
    values = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    node = LifecycleNode(
        package="deviloc_ros",
        executable="localization_node",
        name=values["name"],
        namespace=values["namespace"],
        output="screen",
        parameters=[
            values["params_file"],
            {
                "map.path": ParameterValue(values["map"], value_type=str),
                "autostart": ParameterValue(values["autostart"], value_type=bool),
                "use_sim_time": ParameterValue(values["use_sim_time"], value_type=bool),
            },
        ],
        remappings=[("image", values["image"]), ("camera_info", values["camera_info"])],
        ros_arguments=["--log-level", values["log_level"]],
    )
    arguments = [
        DeclareLaunchArgument(
            name,
            default_value=str(defaults) if name == "params_file" else default,
            description=text,
        )
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, node])

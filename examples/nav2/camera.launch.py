"""Start the node for Nav2 with the topics of a camera's driver, driven by a lifecycle manager.

ros2 launch examples/nav2/camera.launch.py camera:=realsense map:=street.devmap
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import Action, LaunchContext, LaunchDescription

# image topic, camera_info topic. Compare with `ros2 topic list`: drivers rename theirs.
CAMERAS = {
    "usb_cam": ("/image_raw", "/camera_info"),
    "realsense": ("/camera/camera/color/image_raw", "/camera/camera/color/camera_info"),
    "zed": ("/zed/zed_node/rgb/color/rect/image", "/zed/zed_node/rgb/color/rect/camera_info"),
    "oak": ("/oak/rgb/image_raw", "/oak/rgb/camera_info"),
    "orbbec": ("/camera/color/image_raw", "/camera/color/camera_info"),
}
HERE = Path(__file__).resolve().parent


def start(context: LaunchContext) -> list[Action]:
    """Return the node, the filter and the lifecycle manager."""
    image, camera_info = CAMERAS[LaunchConfiguration("camera").perform(context)]
    share = Path(get_package_share_directory("deviloc_ros"))
    arguments = {
        "map": LaunchConfiguration("map"),
        "image": image,
        "camera_info": camera_info,
        "params_file": str(HERE / "localization.yaml"),
        "autostart": "false",
    }
    return [
        IncludeLaunchDescription(
            str(share / "launch" / "localization.launch.py"), launch_arguments=arguments.items()
        ),
        Node(
            package="nav2_lifecycle_manager",
            executable="lifecycle_manager",
            name="lifecycle_manager_localization",
            parameters=[str(HERE / "lifecycle_manager.yaml")],
        ),
        Node(
            package="robot_localization",
            executable="ekf_node",
            name="ekf_filter_node_map",
            parameters=[str(HERE / "ekf.yaml")],
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and what is started."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("camera", choices=list(CAMERAS), description="the driver"),
            DeclareLaunchArgument("map", description="map file, made by `deviloc map build`"),
            OpaqueFunction(function=start),
        ]
    )

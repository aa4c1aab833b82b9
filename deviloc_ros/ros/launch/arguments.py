"""The arguments of launch files. No ROS is needed to read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """An argument of a launch file.

    Attributes:
        default: its value; empty where the description says so.
        description: what `ros2 launch ... --show-args` prints.
        choices: the values that are accepted; empty: any.
    """

    default: str
    description: str
    choices: tuple[str, ...] = ()


TRUE, FALSE = ("true", "True"), ("false", "False")
"""YAML's spelling, and Python's, which Nav2's launch files pass on."""


def switch(default: bool | None, description: str) -> Argument:
    """Return an argument that is true or false; None: or empty, which is the default then."""
    if default is None:
        return Argument("", description, (*TRUE, *FALSE, ""))
    return Argument(str(default).lower(), description, (*TRUE, *FALSE))


NODE_ARGUMENTS = {
    "map": Argument("", "map file, made by `deviloc map build`; empty: params_file names it"),
    "params_file": Argument("", "parameters as YAML; empty: the package's own for this use"),
    "namespace": Argument("", "namespace of all nodes and topics: one for each robot"),
    "name": Argument("localization", "name of the node"),
    "tf_in_namespace": switch(
        False, "tf and tf_static are inside the namespace too, as Nav2 has it for several robots"
    ),
    "use_sim_time": switch(
        None,
        "take the time from /clock, as with bags and simulators; empty: as params_file or "
        "SetParameter says",
    ),
    "autostart": switch(
        True, "the node configures and activates itself; false: a lifecycle manager does"
    ),
    "display": switch(False, "also publish map points, reference frustums and path, for people"),
    "rviz": switch(False, "start RViz with the package's layout; publishes as display does"),
    "dds_profile": Argument(
        "", "Fast DDS profile for the nodes, such as config/fastdds_shm.xml; empty: as it is set"
    ),
    "log_level": Argument("info", "of the nodes", ("debug", "info", "warn", "error", "fatal")),
}

ONE_CAMERA_ARGUMENTS = {
    **NODE_ARGUMENTS,
    "image": Argument("image", "image topic; with compressed transport without /compressed"),
    "camera_info": Argument("camera_info", "topic of the camera's calibration"),
}

SHOWN = {
    "pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "status": "diagnostic_msgs/msg/DiagnosticArray",
    "debug_image": "sensor_msgs/msg/Image",
    "map_points": "sensor_msgs/msg/PointCloud2",
    "references": "visualization_msgs/msg/MarkerArray",
    "path": "nav_msgs/msg/Path",
}
"""Topics that the layouts in config/ show, below the name of the node, with their types."""

"""`ros2 run deviloc_ros map_display`: the map and the path driven in it, for RViz and Foxglove.

It follows the node: what `~/reload_map` loads is shown.

A process of its own, so that what people look at costs the localization nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

from diagnostic_msgs.msg import KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from deviloc_ros.errors import InputError
from deviloc_ros.mapping.open_map import open_map
from deviloc_ros.maps.map_file import map_id
from deviloc_ros.ros.driven_path import DrivenPath
from deviloc_ros.ros.map_in_use import LATCHED
from deviloc_ros.ros.map_messages import points_message, references_message
from deviloc_ros.ros.process import Termination
from deviloc_ros.ros.running import run, spin

PATH_PERIOD = 1.0
"""Time between messages of a path that grows, seconds."""

PARAMETERS: dict[str, tuple[Any, str]] = {
    "map.path": ("", "map file, made by `deviloc map build`; required"),
    "frames.map": ("map", "frame of the map"),
    "localization": ("localization", "name of the localization node, whose poses make the path"),
    "display.max_points": (200_000, "points of the map shown at most"),
    "display.frustum_depth": (0.5, "length of a reference image's frustum, m"),
    "display.path_spacing": (0.1, "least distance between poses of the path, m"),
    "display.path_length": (10_000, "poses of the path kept at most"),
}
"""Parameter: its default and its meaning; a test keeps docs/ros-interface.md equal."""


class MapDisplay(Node):
    """Publishes map points and reference frustums of each map, latched, and the path as it grows.

    Raises:
        InputError: a parameter is wrong, or the map cannot be read.
    """

    def __init__(self, **options: Any) -> None:
        """Read the map and publish it."""
        super().__init__("map_display", **options)
        try:
            self._start()
        except InputError:
            self.destroy_node()
            raise

    def _start(self) -> None:
        for name, (default, text) in PARAMETERS.items():
            self.declare_parameter(name, default, ParameterDescriptor(description=text))
        if not self._value("map.path"):
            raise InputError("parameter map.path is empty; give the file of `deviloc map build`")
        for name in PARAMETERS:
            if name.startswith("display.") and self._value(name) <= 0:
                raise InputError(f"parameter {name}: must be above 0, is {self._value(name)}")
        source = self._value("localization")
        self._points = self.create_publisher(PointCloud2, f"{source}/map_points", LATCHED)
        self._references = self.create_publisher(MarkerArray, f"{source}/references", LATCHED)
        self._show(self._value("map.path"))
        self._path = DrivenPath(
            self._value("display.path_spacing"), self._value("display.path_length")
        )
        self._path_changed = False
        self._path_publisher = self.create_publisher(Path, f"{source}/path", LATCHED)
        self.create_subscription(PoseWithCovarianceStamped, f"{source}/pose", self._on_pose, 10)
        self.create_subscription(KeyValue, f"{source}/map_file", self._on_map, LATCHED)
        self.create_timer(PATH_PERIOD, self._publish_path)

    def _show(self, path: str) -> None:
        """Publish a map in the place of the one before.

        Raises:
            InputError: it cannot be read.
        """
        file = FilePath(path).expanduser()
        reference_map, frame = open_map(file), self._value("frames.map")
        self._shown = map_id(file)
        points = points_message(frame, reference_map, self._value("display.max_points"))
        self._points.publish(points)
        depth = self._value("display.frustum_depth")
        self._references.publish(references_message(frame, reference_map, depth))
        self.get_logger().info(
            f"map {path}: {len(reference_map.point_array)} points, "
            f"{len(reference_map.references)} reference images"
        )

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _on_map(self, message: KeyValue) -> None:
        """Show the map that the node uses, where it is another one than is shown."""
        if message.value in ("", self._shown):
            return
        try:
            self._show(message.key)
        except InputError as error:
            self.get_logger().error(f"the map in use is not shown: {error}")
            return
        self._path.clear()
        self._path_changed = False
        self._path_publisher.publish(Path(header=Header(frame_id=self._value("frames.map"))))

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        self._path_changed |= self._path.add(message)

    def _publish_path(self) -> None:
        if self._path_changed:
            self._path_changed = False
            self._path_publisher.publish(self._path.message())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal comes; exit code 2 for a wrong parameter or map."""
    termination = Termination()

    def display() -> int:
        node = MapDisplay()
        try:
            spin(node, termination)
        finally:
            node.destroy_node()
        return 0

    return run(display, arguments, termination)


if __name__ == "__main__":
    sys.exit(main())

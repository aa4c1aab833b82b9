"""`ros2 run deviloc_ros map_display`: the map and the path driven in it, for RViz and Foxglove.

It follows the node: what `~/reload_map` loads is shown.

A process of its own, so that what people look at costs the localization nothing.
"""

from __future__ import annotations

import array
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from diagnostic_msgs.msg import KeyValue
from geometry_msgs.msg import Point, Pose, PoseStamped, PoseWithCovarianceStamped, Vector3
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from deviloc_ros.errors import InputError
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.map_file import map_id
from deviloc_ros.maps.open_map import open_map
from deviloc_ros.maps.reference import Reference
from deviloc_ros.messages.stamped import stamp_ns
from deviloc_ros.ros.node.loaded_map import LATCHED
from deviloc_ros.ros.process import Termination, run, spin


class DrivenPath:
    """Collects poses.

    Args:
        spacing: least distance between two of them, metres.
        length: how many are kept; the oldest go.
    """

    def __init__(self, spacing: float, length: int) -> None:
        """Start empty."""
        self._spacing = spacing
        self._poses: deque[PoseStamped] = deque(maxlen=length)
        self._last_stamp = 0

    def add(self, message: PoseWithCovarianceStamped) -> bool:
        """Take a pose in; say whether the path has changed.

        A stamp before the last one, as when a bag loops, begins a new path.
        """
        stamp = stamp_ns(message.header.stamp)
        if stamp < self._last_stamp:
            self._poses.clear()
        self._last_stamp = stamp
        if self._poses:
            old, new = self._poses[-1].pose.position, message.pose.pose.position
            moved = np.linalg.norm([new.x - old.x, new.y - old.y, new.z - old.z])
            if moved < self._spacing:
                return False
        self._poses.append(PoseStamped(header=message.header, pose=message.pose.pose))
        return True

    def clear(self) -> None:
        """Begin a new path: poses in another map have another meaning."""
        self._poses.clear()

    def message(self) -> Path:
        """Return the path, in the frame and with the stamp of its newest pose."""
        poses = list(self._poses)
        return Path(header=poses[-1].header, poses=poses) if poses else Path()


REFERENCE_COLOUR = ColorRGBA(r=1.0, g=0.6, b=0.1, a=0.8)
EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))
"""Lines of a frustum: corner 0 is the camera, 1 to 4 are the image's."""


def points_message(frame: str, reference_map: Map, max_points: int) -> PointCloud2:
    """Return the SfM points of a map, float32 x y z in the map frame.

    Of more than `max_points` as many are drawn at random, always the same ones.
    """
    points = reference_map.points3d
    if len(points) > max_points:
        chosen = np.random.default_rng(0).choice(len(points), max_points, replace=False)
        points = points[np.sort(chosen)]
    data = np.ascontiguousarray(points, dtype="<f4")
    message = PointCloud2(
        height=1,
        width=len(data),
        fields=[
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate("xyz")
        ],
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(data),
        is_dense=bool(np.isfinite(data).all()),
    )
    message.header.frame_id = frame
    message.data = array.array("B", data.tobytes())
    return message


def references_message(frame: str, reference_map: Map, depth: float) -> MarkerArray:
    """Return one list of lines: the frustum of every reference image, `depth` metres long."""
    marker = Marker(
        ns="references",
        type=Marker.LINE_LIST,
        action=Marker.ADD,
        pose=Pose(),
        scale=Vector3(x=0.02 * depth, y=0.0, z=0.0),
        color=REFERENCE_COLOUR,
    )
    marker.header.frame_id = frame
    marker.pose.orientation.w = 1.0
    for reference in reference_map.references:
        corners = [Point(x=x, y=y, z=z) for x, y, z in frustum(reference, depth).tolist()]
        marker.points.extend(corners[index] for edge in EDGES for index in edge)
    return MarkerArray(markers=[marker])


def frustum(reference: Reference, depth: float) -> NDArray[np.float64]:
    """Return the camera and the corners of its image at a depth: (5, 3), map frame."""
    camera = reference.camera
    width, height = float(camera.width), float(camera.height)
    pixels = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
    corners = np.vstack([np.zeros(3), depth * camera.rays(pixels)])
    return reference.camera_from_map.inverse().apply(corners)


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

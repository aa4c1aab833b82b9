"""A map as messages that RViz and Foxglove show: points, and reference images as frustums."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from deviloc_ros.mapping.reference import Reference
from deviloc_ros.maps.map import Map

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

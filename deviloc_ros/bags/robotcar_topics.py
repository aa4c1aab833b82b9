"""Topics and frames of bags that are made of RobotCar data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.bags import types
from deviloc_ros.bags.chunks import Event
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

MAP, ODOM, BASE, UTM = "map", "odom", "base_link", "utm"
TRUTH_TOPIC = "/ground_truth/pose"


def image_topic(camera: str, rectified: bool) -> str:
    """Return the topic of a camera's images; its calibration is beside it on camera_info."""
    return f"/{camera}/{'image_rect' if rectified else 'image_raw'}"


def info_topic(camera: str) -> str:
    """Return the topic of a camera's calibration."""
    return f"/{camera}/camera_info"


def optical_frame(camera: str) -> str:
    """Return the frame of a camera's images."""
    return f"{camera}_optical"


def image_events(
    name: str,
    camera: Camera,
    stamp: int,
    pixels: Callable[[], NDArray[np.uint8]],
    encoding: str | None = None,
) -> Iterator[Event]:
    """Yield the calibration and the image of one instant of one camera."""
    frame = optical_frame(name)
    yield Event(stamp, info_topic(name), lambda: types.camera_info(stamp, frame, camera))
    topic = image_topic(name, camera.model == "PINHOLE")
    yield Event(stamp, topic, lambda: types.image(stamp, frame, pixels(), encoding), counts=True)


def truth_event(stamp: int, map_from_base: Transform) -> Event:
    """Return the message of a true pose."""
    return Event(
        stamp,
        TRUTH_TOPIC,
        lambda: types.message(
            "geometry_msgs/msg/PoseStamped",
            header=types.header(stamp, MAP),
            pose=types.pose(map_from_base),
        ),
    )

"""Topics and frames of bags that are made of RobotCar data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.bags import types
from deviloc_ros.bags.chunks import Event
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

MAP, ODOM, BASE, UTM = "map", "odom", "base_link", "utm"
TRUTH_TOPIC = "/ground_truth/pose"
# As image_transport's compressed publisher names them.
JPEG_RGB, JPEG_GRAY = "rgb8; jpeg compressed bgr8", "mono8; jpeg compressed mono8"


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
    jpeg: int | None = None,
) -> Iterator[Event]:
    """Yield the calibration and the image of one instant of one camera.

    Args:
        name: of the camera.
        camera: of the image.
        stamp: nanoseconds.
        pixels: returns (H, W) gray or a mosaic, or (H, W, 3) RGB.
        encoding: of a mosaic.
        jpeg: quality, 1 to 100; None: not compressed.
    """
    frame = optical_frame(name)
    yield Event(stamp, info_topic(name), partial(types.camera_info, stamp, frame, camera))
    topic = image_topic(name, camera.model == "PINHOLE")
    if jpeg is None:
        make = partial(_image, stamp, frame, pixels, encoding)
    else:
        topic, make = f"{topic}/compressed", partial(_jpeg, stamp, frame, pixels, jpeg)
    yield Event(stamp, topic, make, counts=True)


def compressed_events(
    name: str, camera: Camera, stamp: int, content: Callable[[], bytes]
) -> Iterator[Event]:
    """Yield the calibration and a colour JPEG file of one instant of one camera."""
    frame = optical_frame(name)
    yield Event(stamp, info_topic(name), partial(types.camera_info, stamp, frame, camera))
    topic = f"{image_topic(name, True)}/compressed"
    yield Event(stamp, topic, partial(_file, stamp, frame, content), counts=True)


def _image(
    stamp: int, frame: str, pixels: Callable[[], NDArray[np.uint8]], encoding: str | None
) -> Any:
    return types.image(stamp, frame, pixels(), encoding)


def _jpeg(stamp: int, frame: str, pixels: Callable[[], NDArray[np.uint8]], quality: int) -> Any:
    image = pixels()
    colour = image.ndim == 3
    _, content = cv2.imencode(
        ".jpg", image[..., ::-1] if colour else image, [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return types.compressed_image(
        stamp, frame, content.tobytes(), JPEG_RGB if colour else JPEG_GRAY
    )


def _file(stamp: int, frame: str, content: Callable[[], bytes]) -> Any:
    return types.compressed_image(stamp, frame, content(), JPEG_RGB)


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

"""Pixels of image messages: by ROS 2's cv_bridge where it is installed, else by our own converter.

Both give the same pixels (a test compares them), so a bag read without ROS gives the same poses.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from sensor_msgs.msg import CompressedImage, Image

from deviloc_ros.errors import InputError
from deviloc_ros.messages.image import ENCODINGS, Pixels, pixels_from_message

Converter = Callable[[Image | CompressedImage], Pixels]


def image_converter() -> tuple[Converter, str]:
    """Return the function that reads pixels, (H, W) gray or (H, W, 3) RGB uint8, and its name.

    The name goes to diagnostics: a cv_bridge that is installed but broken is not passed over in
    silence.
    """
    bridge = ros2_cv_bridge()
    if bridge is None:
        return pixels_from_message, "own"
    try:
        probe = Image(height=2, width=2, encoding="bgr8", step=6, data=bytes(12))
        bridge.imgmsg_to_cv2(probe, "rgb8")
    except Exception as error:
        # As Humble's does with numpy 2: its compiled part does not load.
        return pixels_from_message, f"own, as cv_bridge fails: {error}"
    return bridge_converter(bridge), "cv_bridge"


def ros2_cv_bridge() -> Any | None:
    """Return a CvBridge of ROS 2, or None.

    The package index has a ROS 1 port under the same name that reads ROS 2's messages wrongly; only
    one that is registered as a ROS 2 package is used.
    """
    try:
        prefix = get_package_prefix("cv_bridge")
        module = importlib.import_module("cv_bridge")
    except (PackageNotFoundError, OSError, ImportError):  # OSError: no ament environment at all
        return None
    if not str(module.__file__).startswith(prefix):
        return None
    return module.CvBridge()


def bridge_converter(bridge: Any) -> Converter:
    """Return a converter that uses cv_bridge where it is right.

    It fails on big-endian images with numpy 2 and on rows padded to no multiple of a pixel, takes
    `yuv422` only under some of its names, and compressed images without regard to their Bayer
    pattern: our own converter reads those, and colours and Bayer mosaics of 16 bits.
    """

    def convert(message: Image | CompressedImage) -> Pixels:
        if not isinstance(message, Image) or not _bridge_is_right(message):
            return pixels_from_message(message)
        gray = message.encoding.startswith("mono")
        pixels = bridge.imgmsg_to_cv2(message, "mono8" if gray else "rgb8")
        return cast(Pixels, np.ascontiguousarray(pixels))

    return convert


def _bridge_is_right(message: Image) -> bool:
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise InputError(
            f"image encoding {message.encoding!r} is not supported; "
            f"supported are {', '.join(ENCODINGS)}"
        )
    pixel = encoding.channels * np.dtype(encoding.type).itemsize
    whole = len(message.data) == message.step * message.height > 0
    return bool(
        whole
        and not message.is_bigendian
        and message.step % pixel == 0
        and message.step >= message.width * pixel
        and message.encoding.startswith(("mono", "rgb", "bgr", "bayer_"))
        and (pixel == encoding.channels or message.encoding == "mono16")
        and min(message.width, message.height) >= 2
    )

"""sensor_msgs Image and CompressedImage to numpy, for the node and for bags alike.

Encodings are those of REP-118 and sensor_msgs/image_encodings. Colour becomes gray later, in
`deviloc_ros.images.to_gray`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.images import check_header

Pixels: TypeAlias = NDArray[np.uint8]


class ImageMessage(Protocol):
    """What is read of a sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImageMessage(Protocol):
    """What is read of a sensor_msgs/CompressedImage."""

    format: str
    data: Any


@dataclass(frozen=True)
class Encoding:
    """How pixels lie in a message.

    Attributes:
        type: numpy type of one sample.
        channels: samples a pixel.
        convert: from (H, W) or (H, W, channels) samples to (H, W) gray or (H, W, 3) RGB uint8.
    """

    type: type[np.uint8] | type[np.uint16]
    channels: int
    convert: Callable[[NDArray[Any]], NDArray[Any]]


def _with_cv2(code: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda samples: cast("NDArray[Any]", cv2.cvtColor(samples, code))


def _unchanged(samples: NDArray[Any]) -> NDArray[Any]:
    return samples


def to_8_bit(samples: NDArray[np.uint16]) -> Pixels:
    """Scale the full 16-bit range to 8 bits, rounded: 65535 becomes 255, as cv_bridge does."""
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _after_8_bit(code: int | None) -> Callable[[NDArray[Any]], NDArray[Any]]:
    if code is None:
        return to_8_bit
    return lambda samples: cast("NDArray[Any]", cv2.cvtColor(to_8_bit(samples), code))


# OpenCV names a Bayer pattern after its second row and column: ROS' RGGB is OpenCV's BG.
ENCODINGS = {
    "mono8": Encoding(np.uint8, 1, _unchanged),
    "8UC1": Encoding(np.uint8, 1, _unchanged),
    "mono16": Encoding(np.uint16, 1, to_8_bit),
    "rgb8": Encoding(np.uint8, 3, _unchanged),
    "bgr8": Encoding(np.uint8, 3, _with_cv2(cv2.COLOR_BGR2RGB)),
    "8UC3": Encoding(np.uint8, 3, _with_cv2(cv2.COLOR_BGR2RGB)),
    "rgba8": Encoding(np.uint8, 4, _with_cv2(cv2.COLOR_RGBA2RGB)),
    "bgra8": Encoding(np.uint8, 4, _with_cv2(cv2.COLOR_BGRA2RGB)),
    "bayer_rggb8": Encoding(np.uint8, 1, _with_cv2(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr8": Encoding(np.uint8, 1, _with_cv2(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg8": Encoding(np.uint8, 1, _with_cv2(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg8": Encoding(np.uint8, 1, _with_cv2(cv2.COLOR_BayerGB2RGB)),
    "rgb16": Encoding(np.uint16, 3, _after_8_bit(None)),
    "bgr16": Encoding(np.uint16, 3, _after_8_bit(cv2.COLOR_BGR2RGB)),
    "rgba16": Encoding(np.uint16, 4, _after_8_bit(cv2.COLOR_RGBA2RGB)),
    "bgra16": Encoding(np.uint16, 4, _after_8_bit(cv2.COLOR_BGRA2RGB)),
    "bayer_rggb16": Encoding(np.uint16, 1, _after_8_bit(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr16": Encoding(np.uint16, 1, _after_8_bit(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg16": Encoding(np.uint16, 1, _after_8_bit(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg16": Encoding(np.uint16, 1, _after_8_bit(cv2.COLOR_BayerGB2RGB)),
    "yuv422": Encoding(np.uint8, 2, _with_cv2(cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": Encoding(np.uint8, 2, _with_cv2(cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": Encoding(np.uint8, 2, _with_cv2(cv2.COLOR_YUV2RGB_YUY2)),
    "yuyv": Encoding(np.uint8, 2, _with_cv2(cv2.COLOR_YUV2RGB_YUY2)),
}


def pixels_from_message(message: ImageMessage | CompressedImageMessage) -> Pixels:
    """Return the pixels of an Image or CompressedImage: (H, W) gray or (H, W, 3) RGB, uint8.

    The result may share the message's memory; it is not to be written to.

    Raises:
        InputError: unknown encoding or format, or data that contradicts the header.
    """
    if hasattr(message, "encoding"):
        return pixels_from_image(cast(ImageMessage, message))
    return pixels_from_compressed(message)


def pixels_from_image(message: ImageMessage) -> Pixels:
    """Return the pixels of a sensor_msgs/Image: (H, W) gray or (H, W, 3) RGB, uint8.

    Rows may be padded (`step`), 16-bit samples may have either byte order.

    Raises:
        InputError: unknown encoding, or `step` and `data` contradict width and height.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise InputError(
            f"image encoding {message.encoding!r} is not supported; "
            f"supported are {', '.join(ENCODINGS)}"
        )
    width, height, step = message.width, message.height, message.step
    sample = np.dtype(encoding.type).newbyteorder(">" if message.is_bigendian else "<")
    row = width * encoding.channels * sample.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if width < 1 or height < 1 or step < row or data.size != step * height:
        raise InputError(
            f"image {width} x {height} {message.encoding}: step {step} and {data.size} bytes "
            f"do not fit; expected step >= {row} and step * height bytes"
        )
    if encoding.channels == 2 and width % 2:
        raise InputError(f"image {width} x {height} {message.encoding}: the width must be even")
    if message.encoding.startswith("bayer_") and min(width, height) < 2:
        raise InputError(
            f"image {width} x {height} {message.encoding}: at least 2 x 2 pixels are needed"
        )
    samples = np.ascontiguousarray(data.reshape(height, step)[:, :row]).view(sample)
    if encoding.channels > 1:
        samples = samples.reshape(height, width, encoding.channels)
    return cast(Pixels, encoding.convert(samples))


def pixels_from_compressed(message: CompressedImageMessage) -> Pixels:
    """Return the pixels of a CompressedImage (JPEG, PNG ...): (H, W) gray or (H, W, 3) RGB, uint8.

    `format` is read as image_transport writes it, "rgb8; jpeg compressed bgr8": a Bayer mosaic
    that was compressed as gray is interpolated. An EXIF orientation is not applied, as the
    intrinsics are those of the sensor.

    Raises:
        InputError: the data is not an image, is cut short, too large, or a compressed depth map.
    """
    if "compressedDepth" in message.format:
        raise InputError(f"compressed image format {message.format!r} is a depth map, not an image")
    data = np.frombuffer(message.data, np.uint8)
    source = f"compressed image ({message.format!r}, {data.size} bytes)"
    # The header is looked at first, so that a size it merely claims is never allocated.
    if check_header(io.BytesIO(data.data), source) is None:
        raise InputError(f"{source} is not a readable image")
    try:
        samples: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        samples = None
    if samples is None or samples.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{source} cannot be decoded")
    if samples.dtype == np.uint16:
        samples = to_8_bit(samples.astype(np.uint16, copy=False))
    original, _, compressed = message.format.partition(";")
    if samples.ndim == 2:
        name = original.strip()
        if not name.startswith("bayer_"):
            return cast(Pixels, samples)
        # The samples are of 8 bits by now, whatever they were.
        encoding = ENCODINGS.get(name.removesuffix("16").removesuffix("8") + "8")
        if encoding is None or min(samples.shape) < 2:
            raise InputError(f"{source}: the Bayer pattern {name!r} is unknown, or cannot be here")
        return cast(Pixels, encoding.convert(samples))
    if samples.shape[2] == 4:
        return cast(Pixels, cv2.cvtColor(samples, cv2.COLOR_BGRA2RGB))
    # image_transport can store RGB samples where the codec expects BGR, and then says so.
    if "compressed rgb" in compressed:
        return cast(Pixels, samples)
    return cast(Pixels, cv2.cvtColor(samples, cv2.COLOR_BGR2RGB))

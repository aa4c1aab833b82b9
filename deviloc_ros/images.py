"""Images as the networks see them: the only place where colour becomes gray.

Files, bags and live topics all end here, so the same pixels give the same pose.
"""

from __future__ import annotations

import io
import threading
import warnings
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError

MAX_PIXELS = 400_000_000
MAX_PIXELS_PER_BYTE = 10_000
"""More than a format can hold: PNG's deflate makes up to 1032 bytes of one, of 8 pixels each."""
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".jp2", ".j2k"}
)
_HEADERS = threading.Lock()


def to_gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma of an image.

    Args:
        image: (H, W) gray or (H, W, 3) RGB, uint8.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: another shape or type.
    """
    if image.dtype != np.uint8:
        raise InputError(f"image: must be uint8, got {image.dtype}")
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    raise InputError(f"image: must be (H, W) gray or (H, W, 3) RGB, got shape {image.shape}")


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, pixels as stored.

    Raises:
        InputError: the file cannot be read or is no image, or one of unreasonable size.
    """
    try:
        with path.open("rb") as file:
            size = check_header(file, str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if size is None:  # a format that only OpenCV knows, or none
        height, width = read_gray(path).shape
        size = width, height
    return size


def check_header(data: IO[bytes], source: str) -> tuple[int, int] | None:
    """Return width and height that the header of a compressed image claims; None: not readable.

    Nothing is allocated for a size that is merely claimed.

    Args:
        data: the file's content.
        source: what to name in an error.

    Raises:
        InputError: more than MAX_PIXELS, or more than so many bytes can hold.
    """
    with _HEADERS:
        # Pillow's own limit is lower; it is of the whole program, so others get it back.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with warnings.catch_warnings():  # whether the image can be used is told by decoding it
                warnings.simplefilter("ignore")
                with Image.open(data) as image:
                    width, height = image.size
        except Exception:  # its plugins raise anything about damaged headers
            return None
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    length = data.seek(0, io.SEEK_END)
    data.seek(0)
    if width * height > MAX_PIXELS_PER_BYTE * length + 1_000_000:
        raise InputError(
            f"{source}: claims {width} x {height} pixels, more than its {length} bytes can hold"
        )
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{source}: {width} x {height} pixels are too many, at most "
            f"{MAX_PIXELS // 1_000_000} million can be used"
        )
    return width, height


def read_gray(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file as gray, pixels as stored (an EXIF orientation is not applied).

    Calibrations and COLMAP models refer to the stored pixels.

    Raises:
        InputError: the file cannot be read or decoded.
    """
    return decode_gray(_bytes_of(path), str(path))


def _bytes_of(path: str | Path) -> NDArray[np.uint8]:
    try:
        return np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def decode_gray(data: NDArray[np.uint8], source: str) -> NDArray[np.uint8]:
    """Decode a compressed image, such as JPEG or PNG, to gray.

    Args:
        data: (N,) uint8, the bytes of the file.
        source: what to name in an error.

    Raises:
        InputError: the bytes are not an image, or one of unreasonable size.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    check_header(io.BytesIO(data.data), source)
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        image = None
    if image is None or image.size == 0:
        raise InputError(f"{source}: is not an image that can be decoded (JPEG, PNG, ...)")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image file, whole or not at all; the name's suffix says the format.

    Args:
        path: the file.
        image: (H, W) gray or (H, W, 3) RGB, uint8.

    Raises:
        InputError: the file cannot be written.
    """
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(path.suffix, stored)
    with atomic_path(path) as temporary:
        # Not cv2.imwrite, which does not tell of a full disk.
        temporary.write_bytes(data.tobytes())

"""Pictures through lenses that a renderer of pinholes does not have."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.renderer import Renderer

# A flat image of more than this becomes mostly rim.
WIDEST = np.radians(75.0)
# Pixels of the pinhole's image to one of the picture: less is lost when it is bent.
DETAIL = 1.5


def photograph(renderer: Renderer, camera: Camera, map_from_camera: Transform) -> NDArray[np.uint8]:
    """Return what a camera of any model sees, (H, W, 3) uint8 RGB.

    Args:
        renderer: of the scene.
        camera: whose corners look at most 75 degrees away from its axis.
        map_from_camera: where it is.

    Raises:
        InputError: its field of view is wider.
    """
    if camera.model in ("PINHOLE", "SIMPLE_PINHOLE"):
        return renderer.render(camera, map_from_camera).image
    pinhole = enclosing_pinhole(camera)
    return through_lens(renderer.render(pinhole, map_from_camera).image, pinhole, camera)


def enclosing_pinhole(camera: Camera) -> Camera:
    """Return a pinhole camera at the same place that sees all that a camera sees.

    Raises:
        InputError: the camera's field of view is too wide for that.
    """
    rays = _rays(camera)[..., :2]
    widest = np.arctan(np.linalg.norm(rays, axis=-1).max())
    if not widest <= WIDEST:
        raise InputError(
            f"camera {camera}: its corners look {np.degrees(widest):.0f} degrees away from its "
            f"axis; at most {np.degrees(WIDEST):.0f} can be rendered"
        )
    low, high = rays.min(axis=(0, 1)), rays.max(axis=(0, 1))
    focal = DETAIL * camera.focal_length
    width, height = np.ceil((high - low) * focal).astype(int) + 4
    centre = -low * focal + 2
    return Camera("PINHOLE", int(width), int(height), (focal, focal, *map(float, centre)))


def through_lens(image: NDArray[np.uint8], pinhole: Camera, camera: Camera) -> NDArray[np.uint8]:
    """Return the image of a pinhole camera as another camera at the same place sees it."""
    rays = _rays(camera)
    pixels = pinhole.project(rays.reshape(-1, 3)).reshape(rays.shape[0], rays.shape[1], 2)
    # OpenCV counts from the centre of the first pixel.
    where = (pixels - 0.5).astype(np.float32)
    bent = cv2.remap(image, where[..., 0], where[..., 1], cv2.INTER_LINEAR)
    return np.asarray(bent, dtype=np.uint8)


def _rays(camera: Camera) -> NDArray[np.float64]:
    """Return the viewing rays (H, W, 3) of all pixels, z = 1."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = camera.rays(np.stack([x, y], axis=-1).reshape(-1, 2))
    return rays.reshape(camera.height, camera.width, 3)

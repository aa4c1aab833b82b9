"""A painted wall with pillars before it: images from any pose, in milliseconds and without vtk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

PIXELS_PER_METRE = 90


@dataclass(frozen=True)
class Board:
    """A painted rectangle that faces the robot, metres in the map frame.

    Attributes:
        left: least x.
        right: largest x.
        y: how far away it stands.
        bottom: least z.
        top: largest z.
        period: its picture is the same again so many metres to the right; 0: nowhere.
        seed: of its picture.
    """

    left: float
    right: float
    y: float
    bottom: float
    top: float
    period: float = 0.0
    seed: int = 0


BOARDS = (
    Board(-10, 10, 6.0, -3, 5),
    *(
        Board(x, x + 0.7, 4.5, -3, 2.5, seed=seed)
        for seed, x in enumerate((-5.5, -3.0, -0.4, 2.2, 5.0), 1)
    ),
)
"""Painted one after the other: the nearest comes last."""

ALIKE_PERIOD = 2.0
ALIKE = (
    Board(-10, 10, 6.0, -3, 5, ALIKE_PERIOD),
    *(Board(float(x), x + 0.5, 4.5, -3, 2.5, seed=1) for x in np.arange(-9, 9, ALIKE_PERIOD)),
)
"""A wall that looks the same every two metres, but for its ends."""


def before_the_wall(x: float, yaw: float = 0.0) -> Transform:
    """Return map_from_base of a robot that looks at the wall, moved along it and turned, degrees.

    Images are right for |x| up to 3 m and turns, camera's and robot's together, up to 30 degrees.
    """
    return Transform(Rotation.from_euler("z", 90 + yaw, degrees=True), np.array([x, 0.0, 0.0]))


def view(
    map_from_camera: Transform, camera: Camera, boards: tuple[Board, ...] = BOARDS
) -> NDArray[np.uint8]:
    """Return the image (H, W) that a camera of model PINHOLE takes of the wall."""
    fx, fy, cx, cy = camera.params
    intrinsics = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    camera_from_map = map_from_camera.inverse().matrix[:3]
    image = np.full((camera.height, camera.width), 60, np.uint8)
    scale = 1 / PIXELS_PER_METRE
    for board in boards:
        picture = _paint(board)
        # Where a pixel of the picture is in the map: x and z are linear in it, y is fixed.
        map_from_picture = np.array(
            [
                [scale, 0, board.left + 0.5 * scale],
                [0, 0, board.y],
                [0, -scale, board.top - 0.5 * scale],
                [0, 0, 1],
            ]
        )
        homography = intrinsics @ camera_from_map @ map_from_picture
        cv2.warpPerspective(
            picture,
            homography,
            (camera.width, camera.height),
            dst=image,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
    return image


def write_map_images(
    poses: Sequence[Transform],
    camera: Camera,
    folder: Path,
    boards: tuple[Board, ...] = BOARDS,
) -> tuple[Path, Path]:
    """Photograph the wall for a map; return the folders of images and of their COLMAP model.

    Args:
        poses: map_from_camera of each image; they become 00.png, 01.png ...
        camera: of model PINHOLE.
        folder: gets both.
        boards: what the wall is made of.
    """
    images, model = folder / "images", folder / "model"
    images.mkdir(parents=True)
    posed = []
    for index, map_from_camera in enumerate(poses):
        name = f"{index:02d}.png"
        cv2.imwrite(str(images / name), view(map_from_camera, camera, boards))
        posed.append(PosedImage(name, camera, map_from_camera.inverse()))
    write_posed_images(model, posed)
    return images, model


@cache
def _paint(board: Board) -> NDArray[np.uint8]:
    """Return a board's picture: squares of every size, the same for the same seed."""
    generator = np.random.default_rng(board.seed)
    whole = round((board.right - board.left) * PIXELS_PER_METRE)
    width = round(board.period * PIXELS_PER_METRE) or whole
    height = round((board.top - board.bottom) * PIXELS_PER_METRE)
    picture = np.full((height, width), 127.0, np.float32)
    for cell in (4, 8, 16, 40, 100):
        size = max(1, width // cell), max(1, height // cell)
        coarse = generator.normal(0, 32, size[::-1]).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    repeated = np.tile(picture, (1, -(-whole // width)))[:, :whole]
    return np.clip(repeated, 0, 255).astype(np.uint8)

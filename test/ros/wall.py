"""A painted wall with pillars before it: images from any pose, and a real map made of some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.build import BuildOptions, build_map

CAMERA = Camera("PINHOLE", 480, 360, (400.0, 400.0, 240.0, 180.0))
BASE_FROM_CAMERA = Transform(
    Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.2, 0.0, 1.0])
)
"""Looks along the robot's x axis, from one metre above the ground."""

SETTINGS = {"features.max_size": 480, "features.num_keypoints": 1024, "device": "cpu"}
PIXELS_PER_METRE = 90


@dataclass(frozen=True)
class Board:
    """A painted rectangle that faces the robot: x from left to right, z from bottom to top."""

    left: float
    right: float
    y: float
    bottom: float
    top: float


BOARDS = (
    Board(-10, 10, 6.0, -3, 5),
    *(Board(x, x + 0.7, 4.5, -3, 2.5) for x in (-5.5, -3.0, -0.4, 2.2, 5.0)),
)


def map_from_base(x: float, yaw: float = 0.0) -> Transform:
    """Return the pose of a robot that looks at the wall, moved along it and turned, degrees."""
    return Transform(Rotation.from_euler("z", 90 + yaw, degrees=True), np.array([x, 0.0, 0.0]))


def paint(board: Board, seed: int) -> NDArray[np.uint8]:
    """Return a board's picture: blots of every size, the same for the same seed."""
    generator = np.random.default_rng(seed)
    width = round((board.right - board.left) * PIXELS_PER_METRE)
    height = round((board.top - board.bottom) * PIXELS_PER_METRE)
    picture = np.full((height, width), 127.0, np.float32)
    for cell in (4, 8, 16, 40, 100):
        size = max(1, width // cell), max(1, height // cell)
        coarse = generator.normal(0, 32, size[::-1]).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.clip(picture, 0, 255).astype(np.uint8)


PICTURES = [paint(board, seed) for seed, board in enumerate(BOARDS)]


def view(map_from_camera: Transform, camera: Camera = CAMERA) -> NDArray[np.uint8]:
    """Return the image (H, W) that a pinhole camera takes of the wall."""
    fx, fy, cx, cy = camera.params
    intrinsics = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    pose = map_from_camera.inverse().matrix[:3]
    image = np.full((camera.height, camera.width), 60, np.uint8)
    for board, picture in zip(BOARDS, PICTURES, strict=True):
        scale = 1 / PIXELS_PER_METRE
        # Where a pixel of the picture is in the map: x and z linear in it, y fixed.
        map_from_picture = np.array(
            [
                [scale, 0, board.left + 0.5 * scale],
                [0, 0, board.y],
                [0, -scale, board.top - 0.5 * scale],
                [0, 0, 1],
            ]
        )
        homography = intrinsics @ pose @ map_from_picture
        cv2.warpPerspective(
            picture, homography, (camera.width, camera.height), dst=image,
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT,
        )  # fmt: skip
    return image


def write_map(folder: Path) -> Path:
    """Build the map of the wall from seven images with known poses."""
    images = folder / "images"
    images.mkdir(parents=True)
    posed = []
    for index, x in enumerate(np.linspace(-3, 3, 7)):
        pose = map_from_base(float(x), yaw=float(8 * (-1) ** index)) @ BASE_FROM_CAMERA
        name = f"{index:02d}.png"
        cv2.imwrite(str(images / name), view(pose))
        posed.append(PosedImage(name, CAMERA, pose.inverse()))
    (folder / "model").mkdir()
    write_posed_images(folder / "model", posed)
    path = folder / "wall.devmap"
    options = BuildOptions(
        config=build(LocalizerConfig, SETTINGS, "test"), metric=True, gravity_aligned=True
    )
    build_map(images, path, folder / "model", options)
    return path

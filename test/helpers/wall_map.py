"""A map of the simulated wall, made in the usual way, in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.simulation import wall
from deviloc_ros.simulation.wall import before_the_wall as map_from_base

CAMERA = Camera("PINHOLE", 480, 360, (400.0, 400.0, 240.0, 180.0))
BASE_FROM_CAMERA = Transform(
    Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.2, 0.0, 1.0])
)
"""Looks along the robot's x axis, from one metre above the ground."""

SETTINGS = {"features.max_size": 480, "features.num_keypoints": 1024, "device": "cpu"}


def view(
    map_from_camera: Transform, boards: tuple[wall.Board, ...] = wall.BOARDS
) -> NDArray[np.uint8]:
    """Return the image that CAMERA takes."""
    return wall.view(map_from_camera, CAMERA, boards)


def write_map(folder: Path, boards: tuple[wall.Board, ...] = wall.BOARDS) -> Path:
    """Build the map of a wall from seven images with known poses."""
    poses = [
        map_from_base(float(x), yaw=float(8 * (-1) ** index)) @ BASE_FROM_CAMERA
        for index, x in enumerate(np.linspace(-3, 3, 7))
    ]
    images, model = wall.write_map_images(poses, CAMERA, folder, boards)
    path = folder / "wall.devmap"
    options = BuildOptions(
        config=build(LocalizerConfig, SETTINGS, "test"), metric=True, gravity_aligned=True
    )
    build_map(images, path, model, options)
    return path

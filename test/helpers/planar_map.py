"""A map of two images of a textured plane, and queries of it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from small_map import small_map

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import Correspondences, Features, Query
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

CAMERA = Camera("PINHOLE", 400, 300, (360.0, 360.0, 200.0, 150.0))
LARGER = Camera("PINHOLE", 800, 600, (720.0, 720.0, 400.0, 300.0))
CONFIG = build(LocalizerConfig, {"features.max_size": 400}, "test")
PIXELS_PER_METRE = 100.0
DEPTH = 4.0
"""The plane is z = DEPTH of the map's frame."""


def plane(seed: int = 0) -> NDArray[np.uint8]:
    """Return what is painted on the plane, 10 m x 10 m around x = y = 0."""
    side = round(10 * PIXELS_PER_METRE)
    noise = np.random.default_rng(seed).normal(size=(side, side))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def view(
    camera: Camera, camera_from_map: Transform, painted: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Return what a pinhole camera sees of the plane."""
    rotation, shift = camera_from_map.rotation.as_matrix(), camera_from_map.translation
    half = painted.shape[0] / 2
    metres = np.array(
        [[1 / PIXELS_PER_METRE, 0, (0.5 - half) / PIXELS_PER_METRE],
         [0, 1 / PIXELS_PER_METRE, (0.5 - half) / PIXELS_PER_METRE], [0, 0, 1]]
    )  # fmt: skip
    on_plane = np.column_stack([rotation[:, 0], rotation[:, 1], rotation[:, 2] * DEPTH + shift])
    centre = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    homography = centre @ camera.intrinsics @ on_plane @ metres
    size = (camera.width, camera.height)
    return np.asarray(cv2.warpPerspective(painted, homography, size, flags=cv2.INTER_AREA))


POSES = (
    Transform.identity(),
    Transform(Rotation.from_euler("xyz", [2, -5, 3], degrees=True), np.array([0.3, -0.1, 0.2])),
)
TRUTH = Transform(
    Rotation.from_euler("xyz", [-3, 4, -2], degrees=True), np.array([-0.2, 0.15, -0.3])
)


def place(painted: NDArray[np.uint8]) -> Map:
    """Return a map of two images of the plane; its features are not used."""
    encoded = [cv2.imencode(".png", view(CAMERA, pose, painted))[1].ravel() for pose in POSES]
    references = [Reference(f"{i}.png", CAMERA, pose) for i, pose in enumerate(POSES)]
    offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
    base = replace(small_map(references=2), references=references, origin=np.zeros(3))
    return base.with_images(None, offsets, np.concatenate(encoded))


def query(camera: Camera, painted: NDArray[np.uint8]) -> Query:
    nothing = torch.zeros(0)
    return Query(Features(*[nothing] * 4), camera, view(camera, TRUTH, painted))


def matches(camera: Camera, error: float, count: int = 400, seed: int = 0) -> Correspondences:
    """Return matches with both references, whose query keypoints are off by a common error."""
    generator = np.random.default_rng(seed)
    reference = np.arange(count) % len(POSES)
    keypoints = generator.uniform((60, 60), (340, 240), (count, 2))
    points = np.empty((count, 3))
    for index, pose in enumerate(POSES):
        own = reference == index
        rays = pose.inverse().rotation.apply(CAMERA.rays(keypoints[own]))
        centre = pose.inverse().translation
        points[own] = centre + rays * ((DEPTH - centre[2]) / rays[:, 2])[:, None]
    pixels = camera.project(TRUTH.apply(points))
    scale = camera.width / CAMERA.width
    wrong = pixels + (np.array([error, -error]) + generator.normal(0, 0.2, (count, 2))) * scale
    return Correspondences(wrong, points, np.ones(count), reference, keypoints)

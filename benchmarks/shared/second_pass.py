"""Simulated matches and simulated drives, for benchmarks/covariance.py."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import PoseConfig
from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.demo.passes import Scene
from deviloc_ros.evaluation.nees import Nees, nees
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.geometry.uncertainty import pose_error
from deviloc_ros.localization.covariance import pose_covariance
from deviloc_ros.localization.pose import agreeing, estimate_pose
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.simulation.light import Light, expose
from deviloc_ros.simulation.renderer import Renderer

RUNS = 400


def monte_carlo(count: int, repeats: int) -> tuple[Nees, Nees]:
    """Return the NEES of poses from matches with Gaussian errors of one pixel.

    Args:
        count: different points.
        repeats: how many times each comes, side by side, with one and the same error.
    """
    camera = Camera("OPENCV", 800, 600, (700.0, 710.0, 400.0, 300.0, -0.2, 0.05, 1e-3, -1e-3))
    truth = Transform(Rotation.from_euler("zyx", [2.0, 0.2, -1.4]), np.array([40.0, -7.0, 1.6]))
    errors: list[NDArray[np.float64]] = []
    covariances: list[NDArray[np.float64]] = []
    for seed in range(RUNS):
        generator = np.random.default_rng(seed)
        keypoints = generator.uniform((0, 0), (800, 600), (count, 2))
        points = truth.apply(camera.rays(keypoints) * generator.uniform(4, 40, (count, 1)))
        keypoints += generator.normal(0, 1, keypoints.shape)
        single = np.zeros(count, dtype=np.int64)
        matches = Correspondences(keypoints, points, np.ones(count), single, keypoints)
        matches = matches.select(np.repeat(np.arange(count), repeats))
        pose = estimate_pose(matches, camera, PoseConfig(), 1.0, 0)
        if pose is None:
            continue
        covariance = pose_covariance(
            pose.camera_from_map, agreeing(pose, matches, camera), camera, 1.0, 1.0
        )
        if covariance is not None:
            errors.append(pose_error(pose.camera_from_map.inverse(), truth))
            covariances.append(covariance)
    return nees(errors, covariances)


def render_second_pass(scene: Scene, light: Light, folder: Path) -> None:
    """Write images and true poses of the scene's second pass, unless they are there."""
    if (folder / "model" / "images.txt").exists():
        return
    (folder / "images").mkdir(parents=True, exist_ok=True)
    street = scene.street(second=True)
    renderer = Renderer(street.meshes(), light, scene.seed)
    generator = np.random.default_rng([scene.seed, 11])
    posed = []
    for index, (_, map_from_base) in enumerate(scene.second_pass.poses(street)):
        map_from_camera = map_from_base @ scene.base_from_camera
        view = renderer.render(scene.camera, map_from_camera)
        name = f"{index:04d}.png"
        with atomic_path(folder / "images" / name) as path:
            cv2.imwrite(str(path), expose(view.image, light, generator)[..., ::-1])
        posed.append(PosedImage(name, scene.camera, map_from_camera.inverse()))
    renderer.close()
    write_posed_images(folder / "model", posed)

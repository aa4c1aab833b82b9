"""Views to learn from: rendered ones, those of a depth sensor, and what SfM knows of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.colmap import read_model
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import read_gray
from deviloc_ros.simulation.light import DAY
from deviloc_ros.simulation.renderer import Renderer
from deviloc_ros.training.scenes import KINDS, make_scene

WIDTH, HEIGHT = 320, 240
VIEWS_PER_SCENE = 40
# A view that is mostly sky, or whose nearest surface fills it, teaches nothing.
MIN_SEEN, MIN_DEPTH = 0.4, 0.5
MIN_OBSERVATIONS = 60
# Depth images of RGB-D sets: 16-bit PNG, so many units a metre (TUM's convention).
UNITS_PER_METRE = 5000.0


@dataclass(frozen=True)
class DenseView:
    """An image with a depth for every pixel.

    Attributes:
        gray: (H, W) uint8.
        depth: (H, W) floating; infinite or 0 where there is none.
    """

    gray: NDArray[np.uint8]
    depth: NDArray[np.floating]


@dataclass(frozen=True)
class SparseView:
    """What SfM knows of an image.

    Attributes:
        pixels: (M, 2) float64.
        depths: (M,) float64 > 0.
    """

    pixels: NDArray[np.float64]
    depths: NDArray[np.float64]


def rendered_views(folder: Path, scenes_per_kind: int, seed: int) -> list[tuple[str, int, Path]]:
    """Render what is not in the folder yet; return kind, number and file of every scene."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [
        (kind, number, folder / f"{kind}-{seed}-{number}.npz")
        for kind in KINDS
        # A street takes long to build and shows as much as several of the others.
        for number in range(max(2, scenes_per_kind // 4) if kind == "street" else scenes_per_kind)
    ]
    missing = [entry for entry in wanted if not entry[2].exists()]
    for kind, number, path in tqdm(missing, desc="rendering", unit="scene", disable=None):
        gray, depth = _render(kind, seed * 10_000 + number)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, gray=gray, depth=depth)
    return wanted


def load_rendered(path: Path) -> list[DenseView]:
    """Return the views of a scene."""
    with np.load(path) as stored:
        gray, depth = stored["gray"], stored["depth"]
    return [DenseView(g, d) for g, d in zip(gray, depth, strict=True)]


def model_views(model: Path) -> list[SparseView]:
    """Return the views of a COLMAP model that see enough points.

    Raises:
        InputError: not a model, or none of its images does.
    """
    reconstruction = read_model(model)
    views = []
    for image in reconstruction.images.values():
        if not image.has_pose:
            continue
        observed = [point for point in image.points2D if point.has_point3D()]
        if len(observed) < MIN_OBSERVATIONS:
            continue
        points = np.array([reconstruction.points3D[point.point3D_id].xyz for point in observed])
        depths = (image.cam_from_world() * points)[:, 2]
        pixels = np.array([point.xy for point in observed])
        views.append(SparseView(pixels[depths > 0], depths[depths > 0]))
    if not views:
        raise InputError(f"{model}: no image of it observes {MIN_OBSERVATIONS} points")
    return views


def depth_views(folder: Path) -> list[DenseView]:
    """Return the views of an RGB-D set: images/NAME.* and depth/NAME.png.

    Raises:
        InputError: there are none, or sizes differ.
    """
    views = []
    for path in sorted((folder / "depth").glob("*.png")):
        images = sorted((folder / "images").glob(f"{path.stem}.*"))
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if not images or depth is None:
            continue
        gray = read_gray(images[0])
        if depth.shape != gray.shape:
            raise InputError(f"{path}: is {depth.shape[::-1]}, its image {gray.shape[::-1]} pixels")
        views.append(DenseView(gray, depth.astype(np.float32) / np.float32(UNITS_PER_METRE)))
    if not views:
        raise InputError(f"{folder}: needs images/NAME.* and depth/NAME.png of the same names")
    return views


def _render(kind: str, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return gray images and depths (V, H, W) of a scene."""
    scene = make_scene(kind, seed)
    generator = np.random.default_rng([seed, 7])
    renderer = Renderer(scene.meshes, DAY, seed)
    grays: list[NDArray[np.uint8]] = []
    depths: list[NDArray[np.float16]] = []
    try:
        for _ in range(4 * VIEWS_PER_SCENE):
            focal = float(np.exp(generator.uniform(np.log(180), np.log(450))))
            camera = Camera("PINHOLE", WIDTH, HEIGHT, (focal, focal, WIDTH / 2, HEIGHT / 2))
            view = renderer.render(camera, scene.pose(generator), depth=True)
            depth = view.depth
            if depth is None or not _is_useful(depth):
                continue
            grays.append(np.asarray(cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY), dtype=np.uint8))
            # Neighbouring points of a wall agree to 0.01 %: half precision would spoil that.
            depths.append(depth.astype(np.float32))
            if len(grays) == VIEWS_PER_SCENE:
                break
    finally:
        renderer.close()
    if not grays:
        raise InputError(f"{kind} {seed}: no view of this scene can be used; take another seed")
    return np.stack(grays), np.stack(depths)


def _is_useful(depth: NDArray[np.float64]) -> bool:
    seen = depth[np.isfinite(depth)]
    return len(seen) > MIN_SEEN * depth.size and float(np.quantile(seen, 0.2)) > MIN_DEPTH


def split(scenes: Sequence[tuple[str, int, Path]]) -> tuple[list[Path], list[Path]]:
    """Return files to train on and to validate with: the last scene of each kind."""
    last = {kind: number for kind, number, _ in scenes}
    train = [path for kind, number, path in scenes if number != last[kind]]
    return train, [path for kind, number, path in scenes if number == last[kind]]

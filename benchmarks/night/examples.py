"""Pairs of images with known truth, as attention sees them: features, and which are the same.

Half of them are rendered scenes (those that the Point Inference Network was trained on) from two
places in two lights; half are two views of a photograph by homographies. The photographs are those
that come with scikit-image, in the public domain or as free as the package. None is of a set that
anything is measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.features import FeatureExtractor, normalised
from deviloc_ros.simulation.light import DAY, EVENING, Light
from deviloc_ros.simulation.renderer import Renderer
from deviloc_ros.simulation.street import Street
from deviloc_ros.training.scenes import KINDS, STREET_LENGTH, make_scene
from night.lights import by_night, in_other_weather

WIDTH, HEIGHT = 800, 608
NUM_FEATURES = 1024
# Features are the same within so many pixels of each other, and surely not beyond the second.
SAME, OTHER = 5.0, 10.0
MIN_SAME = 60
PAIRS_PER_SCENE = 24
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel",
               "rocket", "motorcycle_left")  # fmt: skip

Image = NDArray[np.uint8]
Points = NDArray[np.float64]
# Where points (N, 2) of the first image are in the second; NaN: not to be seen.
Warp = Callable[[Points], Points]


@dataclass(frozen=True)
class Example:
    """Features of two images, NUM_FEATURES of each, and the truth.

    Attributes:
        first: (N, D) float16, descriptors of unit length.
        first_places: (N, 2) float32, see AttentionFeatures.
        second: (N, D), of the other image.
        second_places: (N, 2).
        same: (K, 2) int64, numbers of features that show the same thing.
        first_alone: (N,) bool, features that the other image does not have.
        second_alone: (N,) bool.
    """

    first: NDArray[np.float16]
    first_places: NDArray[np.float32]
    second: NDArray[np.float16]
    second_places: NDArray[np.float32]
    same: NDArray[np.int64]
    first_alone: NDArray[np.bool_]
    second_alone: NDArray[np.bool_]


def make_examples(folder: Path, groups: int, seed: int) -> list[list[Example]]:
    """Return groups of examples, rendered and photographed in turn; those on disk are read."""
    folder.mkdir(parents=True, exist_ok=True)
    extractor: FeatureExtractor | None = None
    result = []
    for number in tqdm(range(groups), desc="pairs", unit="scene", disable=None):
        path = folder / f"{seed}-{number}.npz"
        if not path.exists():
            extractor = extractor or FeatureExtractor(_config())
            rng = np.random.default_rng([seed, number])
            source = _rendered if number % 2 else _photographed
            found = [_example(extractor, *pair) for pair in source(rng, number)]
            arrays = {
                f"{field.name}-{i}": getattr(example, field.name)
                for i, example in enumerate(e for e in found if e is not None)
                for field in fields(Example)
            }
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **arrays)
        result.append(_read(path))
    return result


def _read(path: Path) -> list[Example]:
    with np.load(path) as stored:
        count = len(stored.files) // len(fields(Example))
        return [
            Example(**{field.name: stored[f"{field.name}-{i}"] for field in fields(Example)})
            for i in range(count)
        ]


def _config() -> LocalizerConfig:
    config = LocalizerConfig()
    # The finer level of the pyramid, which attention sees, has four fifths of the features.
    chosen = config.features.model_copy(
        update={"max_size": WIDTH, "num_keypoints": round(NUM_FEATURES / 0.8)}
    )
    return config.model_copy(update={"features": chosen})


def _example(
    extractor: FeatureExtractor, images: tuple[Image, Image], there: Warp, back: Warp
) -> Example | None:
    """Return the features of two images and the truth; None where hardly any are the same."""
    keypoints, descriptors, places = [], [], []
    for image in images:
        features = extractor.extract([image])[0]
        chosen = torch.nonzero(features.levels == features.levels.max())[:, 0][:NUM_FEATURES]
        if len(chosen) < NUM_FEATURES:
            return None
        keypoints.append(features.keypoints[chosen].numpy().astype(np.float64))
        descriptors.append(normalised(features.descriptors[chosen]).numpy().astype(np.float16))
        middle = np.array([WIDTH, HEIGHT]) / 2
        places.append(((keypoints[-1] - middle) / middle.max()).astype(np.float32))
    forward, backward = there(keypoints[0]), back(keypoints[1])
    to_second, nearest = _nearest(forward, keypoints[1])
    to_first, nearest_back = _nearest(backward, keypoints[0])
    (rows,) = np.nonzero(to_second < SAME)
    rows = rows[(to_first < SAME)[nearest[rows]] & (nearest_back[nearest[rows]] == rows)]
    if len(rows) < MIN_SAME:
        return None
    same = np.column_stack([rows, nearest[rows]]).astype(np.int64)
    return Example(
        descriptors[0], places[0], descriptors[1], places[1], same,
        to_second > OTHER, to_first > OTHER,
    )  # fmt: skip


def _nearest(points: Points, others: Points) -> tuple[Points, NDArray[np.int64]]:
    """Return the distance (N,) to the nearest of the others and its number; NaN: infinitely far."""
    visible = np.isfinite(points).all(axis=1)
    distance, number = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    distance[visible], number[visible] = cKDTree(others).query(points[visible])
    return distance, number


def _photographed(
    rng: np.random.Generator, number: int
) -> Iterator[tuple[tuple[Image, Image], Warp, Warp]]:
    """Yield two views of one photograph by homographies, each in a light of its own."""
    from skimage import data_dir

    name = PHOTOGRAPHS[number // 2 % len(PHOTOGRAPHS)]
    path = next(Path(data_dir).glob(f"{name}.*"))
    photograph = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), np.uint8)
    for _ in range(PAIRS_PER_SCENE):
        views = [_homography(photograph.shape, rng) for _ in range(2)]
        images = [
            np.asarray(cv2.warpPerspective(photograph, view, (WIDTH, HEIGHT)), np.uint8)
            for view in views
        ]
        first, second = _in_light(images[0], rng, 0.1), _in_light(images[1], rng, 0.7)
        there = views[1] @ np.linalg.inv(views[0])
        yield (first, second), _warp_of(there), _warp_of(np.linalg.inv(there))


def _homography(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the map from a photograph's pixels to those of a random view of part of it."""
    height, width = shape
    share = rng.uniform(0.6, 1.0)
    sides = np.array([share * width, share * width * HEIGHT / WIDTH])
    sides *= min(1.0, float(height / sides[1]))
    corner = rng.uniform((0, 0), np.maximum(np.array([width, height]) - sides, 1e-3))
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    corners = corner + sides * (square + rng.uniform(-0.12, 0.12, (4, 2)))
    target = (square * (WIDTH, HEIGHT)).astype(np.float32)
    return np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32), target), np.float64)


def _warp_of(homography: NDArray[np.float64]) -> Warp:
    def warp(points: Points) -> Points:
        mapped = cv2.perspectiveTransform(points[:, None], homography)[:, 0]
        return _inside(np.asarray(mapped, np.float64))

    return warp


def _rendered(
    rng: np.random.Generator, number: int
) -> Iterator[tuple[tuple[Image, Image], Warp, Warp]]:
    """Yield two views of one rendered scene, from two places in two lights."""
    kind, seed = KINDS[number // 2 % len(KINDS)], int(rng.integers(1 << 30))
    scene = make_scene(kind, seed)
    lights = _a_day(rng), _an_evening(rng)
    lit = (
        Street(seed=1000 + seed, length=STREET_LENGTH, evening=True).meshes()
        if kind == "street"
        else None
    )
    renderers = [
        Renderer(scene.meshes, lights[0], seed), Renderer(lit or scene.meshes, lights[1], seed + 1)
    ]  # fmt: skip
    try:
        for _ in range(PAIRS_PER_SCENE):
            focal = float(np.exp(rng.uniform(np.log(500), np.log(1100))))
            camera = Camera("PINHOLE", WIDTH, HEIGHT, (focal, focal, WIDTH / 2, HEIGHT / 2))
            poses = [scene.pose(rng)]
            turn = Rotation.from_rotvec(rng.normal(0, (0.05, 0.15, 0.08)))
            poses.append(poses[0] @ Transform(turn, rng.normal(0, (0.5, 0.2, 0.5))))
            views = [r.render(camera, p, depth=True) for r, p in zip(renderers, poses, strict=True)]
            grays = [
                np.asarray(cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY), np.uint8) for view in views
            ]
            depths = [view.depth for view in views]
            assert depths[0] is not None
            assert depths[1] is not None
            images = _in_light(grays[0], rng, 0.1), _in_light(grays[1], rng, 0.6)
            yield (
                images,
                _warp_by_depth(camera, poses[0], poses[1], depths[0], depths[1]),
                _warp_by_depth(camera, poses[1], poses[0], depths[1], depths[0]),
            )
    finally:
        for renderer in renderers:
            renderer.close()


def _warp_by_depth(
    camera: Camera, pose: Transform, other: Transform, depth: Points, other_depth: Points
) -> Warp:
    focal = camera.params[0]
    middle = np.array([WIDTH, HEIGHT]) / 2

    def warp(points: Points) -> Points:
        z = _at(depth, points)
        rays = np.column_stack([(points - middle) / focal, np.ones(len(points))])
        with np.errstate(invalid="ignore"):
            seen = (other.inverse() @ pose).apply(rays * np.where(np.isfinite(z), z, 1)[:, None])
            places = _inside(seen[:, :2] / seen[:, 2:] * focal + middle)
            hidden = np.abs(_at(other_depth, places) / seen[:, 2] - 1) > 0.03
        places[~np.isfinite(z) | (seen[:, 2] < 0.1) | hidden] = np.nan
        return places

    return warp


def _at(depth: Points, points: Points) -> Points:
    """Return the depth (N,) at points (N, 2); infinite where they are NaN."""
    known = np.isfinite(points).all(axis=1)
    pixels = np.where(known[:, None], points, 0).astype(np.int64)
    pixels = np.clip(pixels, 0, (WIDTH - 1, HEIGHT - 1))
    return np.where(known, depth[pixels[:, 1], pixels[:, 0]], np.inf)


def _inside(points: Points) -> Points:
    outside = ((points < 0) | (points >= (WIDTH, HEIGHT))).any(axis=1)
    points[outside] = np.nan
    return points


def _in_light(image: Image, rng: np.random.Generator, night: float) -> Image:
    return by_night(image, rng) if rng.random() < night else in_other_weather(image, rng)


def _a_day(rng: np.random.Generator) -> Light:
    sun = (*rng.uniform(-1, 1, 2), float(rng.uniform(0.3, 1.2)))
    return replace(DAY, sun_from=sun, clouds=float(rng.uniform(0, 1)))


def _an_evening(rng: np.random.Generator) -> Light:
    sun = (*rng.uniform(-1, 1, 2), float(rng.uniform(0.1, 0.6)))
    return replace(EVENING, sun_from=sun, clouds=float(rng.uniform(0, 1)))

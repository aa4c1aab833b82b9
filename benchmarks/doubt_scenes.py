"""What is looked for where it is not, for benchmarks/doubt.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.demo.passes import CAMERA
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.map import Map
from deviloc_ros.simulation.drive import mounted
from deviloc_ros.simulation.light import DAY, Light, expose
from deviloc_ros.simulation.renderer import Renderer
from deviloc_ros.simulation.street import LANE, Street

NIGHT = Light(
    sun_from=(-0.5, 0.3, 0.4),
    sun=(0.03, 0.03, 0.05),
    ambient=(0.10, 0.10, 0.14),
    fill=(0.02, 0.02, 0.03),
    zenith=(10, 12, 26),
    horizon=(30, 26, 32),
    clouds=0.6,
    exposure=1.6,
    gamma=0.9,
    noise=7.0,
    evening=True,
)
TERRACE = {"seed": 3, "length": 130.0, "bend": 0.004, "terrace": True}
# Every so many points of a reference are asked whether the query sees them, from a side that
# differs by at most this angle, and if they are this certain.
STEP, SIDE_DEGREES, CERTAIN = 7, 75.0, 0.3


def share_seen(reference_map: Map, camera: Camera, camera_from_map: Transform) -> NDArray[float]:
    """Return which share (R,) of each reference's points an image shows, walls left aside."""
    centre = camera_from_map.inverse().translation
    shares = []
    for index, reference in enumerate(reference_map.references):
        rows = reference_map.features_of(index)
        points = np.asarray(reference_map.feature_points[rows], dtype=np.float64)[::STEP]
        certain = np.asarray(reference_map.confidence[rows])[::STEP] > CERTAIN
        points = points[certain] + reference_map.origin
        pixels = camera.project(camera_from_map.apply(points))
        with np.errstate(invalid="ignore"):
            inside = ((pixels > 0) & (pixels < (camera.width, camera.height))).all(axis=1)
        rays = points - reference.camera_from_map.inverse().translation, points - centre
        lengths = np.prod([np.linalg.norm(ray, axis=1) for ray in rays], axis=0)
        beside = np.sum(rays[0] * rays[1], axis=1) > np.cos(np.radians(SIDE_DEGREES)) * lengths
        shares.append(float(np.mean(inside & beside)) if len(points) else 0.0)
    return np.array(shares)


def darkened(image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return a photograph (H, W) as by night: blurred, noisy, with three lamps, as a JPEG."""
    generator = np.random.default_rng(seed)
    height, width = image.shape
    light = cv2.GaussianBlur(0.22 * (image / 255.0) ** 1.6, (0, 0), 1.2)
    y, x = np.mgrid[:height, :width]
    for _ in range(3):
        at_x, at_y = generator.uniform((0, 0), (width, 0.7 * height))
        radius = width * generator.uniform(0.04, 0.12)
        light *= 1 + 2.5 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * radius**2))
    light += generator.normal(0, 0.022, light.shape)
    taken = np.clip(255 * light, 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", taken, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def write_terrace(folder: Path) -> None:
    """Write drives along houses that are copies of one: `map`, `here` and `beyond`, by night.

    `beyond` is where the map does not reach, and where other copies of its houses stand.
    """
    by_day = Street(**TERRACE)
    by_night = Street(**TERRACE, traffic_seed=1, evening=True)
    drives = (
        ("map", by_day, DAY, np.arange(0, 45, 1.8), -LANE, 40.0),
        ("here", by_night, NIGHT, np.arange(3, 43, 2.1), 0.3 * LANE, 43.0),
        ("beyond", by_night, NIGHT, np.arange(62, 115, 2.6), 0.3 * LANE, 43.0),
    )
    for number, (name, street, light, along, lane, turn) in enumerate(drives):
        if not (folder / name / "model" / "images.txt").exists():
            _photograph(folder / name, street, light, along, lane, turn, number)


def _photograph(
    folder: Path,
    street: Street,
    light: Light,
    along: Sequence[float],
    lane: float,
    turn: float,
    seed: int,
) -> None:
    """Write the images of a drive that looks at the houses, and their poses."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    renderer = Renderer(street.meshes(), light, street.seed)
    generator = np.random.default_rng([street.seed, seed])
    turned = Transform(Rotation.from_euler("z", turn, degrees=True), np.zeros(3)) @ mounted()
    posed = []
    for index, at in enumerate(along):
        map_from_camera = street.pose(float(at), lane) @ turned
        name = f"{index:04d}.png"
        with atomic_path(folder / "images" / name) as path:
            image = expose(renderer.render(CAMERA, map_from_camera).image, light, generator)
            cv2.imwrite(str(path), image[..., ::-1])
        posed.append(PosedImage(name, CAMERA, map_from_camera.inverse()))
    renderer.close()
    write_posed_images(folder / "model", posed)

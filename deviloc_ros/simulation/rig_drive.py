"""What the cameras of a rig see along a drive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import write_image
from deviloc_ros.simulation.drive import Drive
from deviloc_ros.simulation.lens import photograph
from deviloc_ros.simulation.light import Light, expose
from deviloc_ros.simulation.renderer import Renderer
from deviloc_ros.simulation.rig import RigCamera
from deviloc_ros.simulation.street import Street


@dataclass(frozen=True)
class RigMoment:
    """One instant of a drive.

    Attributes:
        stamp: nanoseconds.
        map_from_base: the truth.
        images: (H, W, 3) uint8 RGB by camera.
    """

    stamp: int
    map_from_base: Transform
    images: Mapping[str, NDArray[np.uint8]]


def moments(
    rig: Sequence[RigCamera],
    street: Street,
    drive: Drive,
    light: Light,
    seed: int = 0,
    hidden: float = 0.0,
) -> Iterator[RigMoment]:
    """Yield what a rig sees, all cameras at the same time.

    Args:
        rig: the cameras.
        street: what they see.
        drive: where the base goes.
        light: see `Light`.
        seed: of the sensors' noise, and of what is hidden.
        hidden: probability that a van beside the robot hides a camera's view, for each image.
    """
    rng = np.random.default_rng([seed, 11])
    renderer = Renderer(street.meshes(), light, seed)
    try:
        for stamp, map_from_base in drive.poses(street):
            images = {}
            for item in rig:
                seen = photograph(renderer, item.camera, map_from_base @ item.base_from_camera)
                if rng.random() < hidden:
                    seen = _behind_a_van(seen)
                images[item.name] = expose(seen, light, rng)
            yield RigMoment(stamp, map_from_base, images)
    finally:
        renderer.close()


def write_map_images(
    rig: Sequence[RigCamera], drive: Iterator[RigMoment], folder: Path
) -> tuple[Path, Path]:
    """Write the images of a drive and their COLMAP model; return both folders."""
    images, model = folder / "images", folder / "model"
    images.mkdir(parents=True)
    posed = []
    for number, moment in enumerate(drive):
        for item in rig:
            name = f"{item.name}_{number:04d}.png"
            write_image(images / name, moment.images[item.name])
            pose = (moment.map_from_base @ item.base_from_camera).inverse()
            posed.append(PosedImage(name, item.camera, pose))
    write_posed_images(model, posed)
    return images, model


def _behind_a_van(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image of which a plain wall with a seam leaves the upper tenth."""
    result = image.copy()
    height, width = image.shape[:2]
    result[height // 10 :] = (205, 208, 204)
    result[:, width // 3 : width // 3 + 2] = (120, 120, 118)
    return result

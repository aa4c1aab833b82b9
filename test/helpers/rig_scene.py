"""A short simulated street seen by a rig: a map of it, and a second drive. Made once a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.simulation.drive import Drive
from deviloc_ros.simulation.light import DAY, EVENING
from deviloc_ros.simulation.rig import RigCamera, robotcar_rig
from deviloc_ros.simulation.rig_drive import RigMoment, moments, write_map_images
from deviloc_ros.simulation.street import LANE, Street

SIZE = 320
CENTRE = SIZE / 2
LENSES = {
    "left": Camera("OPENCV", SIZE, SIZE, (130.0, 130.0, CENTRE, CENTRE, -0.1, 0.01, 1e-3, -1e-3)),
    "rear": Camera("OPENCV_FISHEYE", SIZE, SIZE, (190.0, 190.0, CENTRE, CENTRE, 0.02, 0, 0, 0)),
    "right": Camera("PINHOLE", SIZE, SIZE, (125.0, 125.0, CENTRE, CENTRE)),
}
VALUES = {"features.max_size": SIZE, "features.num_keypoints": 512, "device": "cpu"}
LENGTH = 14.0
BEYOND = 24.0
"""How far the street goes on: more is hardly seen, and takes time to paint."""


@dataclass(frozen=True)
class RigScene:
    """What was made.

    Attributes:
        map_path: a map of the first drive, by day, of all cameras.
        rig: the cameras, each with another lens.
        second: what they see in the evening on the other lane; vans hide some views.
    """

    map_path: Path
    rig: Sequence[RigCamera]
    second: Sequence[RigMoment]


def config() -> LocalizerConfig:
    """Return the configuration of the map and of what localizes in it."""
    return build(LocalizerConfig, VALUES, "test")


def make(folder: Path) -> RigScene:
    """Render both drives and build the map."""
    rig = [replace(item, camera=LENSES[item.name]) for item in robotcar_rig(SIZE)]
    first = moments(
        rig,
        Street(length=LENGTH + BEYOND),
        Drive(lane=-LANE, start=4.0, end=4.0 + LENGTH, speed=4.0, rate=4.0 / 1.6),
        DAY,
    )
    images, model = write_map_images(rig, first, folder)
    path = folder / "rig.devmap"
    options = BuildOptions(config=config(), metric=True, gravity_aligned=True)
    build_map(images, path, model, options)
    second = moments(
        rig,
        Street(traffic_seed=1, length=LENGTH + BEYOND, evening=True),
        Drive(lane=LANE, start=5.0, end=4.0 + LENGTH, speed=4.0, rate=2.9, yaw=0.06, sway=0.3),
        EVENING,
        seed=3,
        hidden=0.25,
    )
    return RigScene(path, rig, list(second))

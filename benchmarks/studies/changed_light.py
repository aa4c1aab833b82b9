"""How far aligned matches err together when the light has changed: what LIGHT_ERROR rests on.

    ./run bench changed_light --work DIR [--streets 10 11 ...] [--output table.md]

Drives on the other lane of rendered streets that no other benchmark uses, in the light of the map,
in the evening, and in others: sun, sky, exposure and noise at random between the two. The error is
the one that makes the errors of all poses most likely, given their covariances.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accuracy import Bench
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from shared.second_pass import render_second_pass

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.demo.passes import Scene, photograph_first_pass
from deviloc_ros.evaluation.nees import Nees, nees
from deviloc_ros.geometry.uncertainty import pose_error
from deviloc_ros.images import read_gray
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.photometric.pose import LIGHT_ERROR
from deviloc_ros.localization.types import PoseEstimate
from deviloc_ros.maps.map import Map
from deviloc_ros.simulation.light import DAY, EVENING, Light

LIGHTS = 2
LARGEST_ERROR = 1.0
HEADER = (
    "| street | light | poses | change of light | NEES of position, rotation without | with |\n"
    "|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Pose:
    """A localized image.

    Attributes:
        error: (6,), metres and radians.
        covariance: (6, 6) with what the map says of its matches, whatever the light.
        shared: (6, 6), what comes to it for an error of one pixel that light makes.
        light_change: see AlignedMatches.
    """

    error: NDArray[np.float64]
    covariance: NDArray[np.float64]
    shared: NDArray[np.float64]
    light_change: float

    def covariance_with(self, light_error: float) -> NDArray[np.float64]:
        """Return the covariance if matches share so much for each unit of the light's change."""
        return np.asarray(self.covariance + (light_error * self.light_change) ** 2 * self.shared)


def random_light(seed: int) -> Light:
    """Return a light between day and evening, the sun anywhere but at night."""
    generator = np.random.default_rng([seed, 77])
    share = generator.uniform()

    def mixed(day: Sequence[float], evening: Sequence[float]) -> tuple[float, float, float]:
        red, green, blue = (1 - share) * np.array(day) + share * np.array(evening)
        return float(red), float(green), float(blue)

    azimuth, elevation = generator.uniform(0, 2 * np.pi), np.radians(generator.uniform(12, 60))
    return Light(
        sun_from=(
            float(np.cos(azimuth) * np.cos(elevation)),
            float(np.sin(azimuth) * np.cos(elevation)),
            float(np.sin(elevation)),
        ),
        sun=mixed(DAY.sun, EVENING.sun),
        ambient=mixed(DAY.ambient, EVENING.ambient),
        fill=mixed(DAY.fill, EVENING.fill),
        zenith=mixed(DAY.zenith, EVENING.zenith),
        horizon=mixed(DAY.horizon, EVENING.horizon),
        clouds=generator.uniform(0.2, 0.7),
        exposure=generator.uniform(1.0, 1.3),
        gamma=generator.uniform(0.9, 1.15),
        noise=generator.uniform(1.5, 5.0),
        evening=bool(generator.uniform() < share),
    )


def drive(localizer: Localizer, folder: Path) -> list[Pose]:
    """Localize a drive's images."""
    poses = []
    for image in sorted(posed_images(folder / "model"), key=lambda image: image.name):
        result = localizer.localize(read_gray(folder / "images" / image.name), image.camera)
        if isinstance(result, PoseEstimate) and result.alignment is not None:
            error = pose_error(result.map_from_camera, image.camera_from_map.inverse())
            change, shared = result.alignment.light_change, result.alignment.of_light_error
            covariance = result.covariance - (LIGHT_ERROR * change) ** 2 * shared
            poses.append(Pose(error, covariance, shared, change))
    return poses


def street(bench: Bench, seed: int) -> dict[str, list[Pose]]:
    """Return the poses of a street's drives, by light."""
    scene, folder = Scene(seed=seed), bench.work / f"street{seed}"
    if not (folder / "model" / "images.txt").exists():
        photograph_first_pass(scene, folder)
    bench.build(folder.name, folder / "images", "--model", folder / "model", "--metric")
    localizer = Localizer(Map.load(folder.with_suffix(".devmap")), LocalizerConfig())
    lights = {"the map's": DAY, "evening": EVENING}
    lights |= {f"random {i}": random_light(LIGHTS * seed + i) for i in range(LIGHTS)}
    drives = {}
    for name, light in lights.items():
        passed = folder / name.replace(" ", "-").replace("'", "")
        render_second_pass(scene, light, passed)
        drives[name] = drive(localizer, passed)
    return drives


def unlikelihood(poses: Sequence[Pose], light_error: float) -> float:
    """Return the negative logarithm of how likely all errors are, but for a constant."""
    total = 0.0
    for pose in poses:
        covariance = pose.covariance_with(light_error)
        squared = pose.error @ np.linalg.solve(covariance, pose.error)
        total += 0.5 * (float(np.linalg.slogdet(covariance)[1]) + float(squared))
    return total


def line(cells: Sequence[str], poses: Sequence[Pose], light_error: float) -> str:
    """Return a line of the table."""
    errors = [pose.error for pose in poses]
    change = float(np.median([pose.light_change for pose in poses]))

    def told(parts: tuple[Nees, Nees]) -> str:
        return ", ".join(f"{part.mean:.2f}" for part in parts)

    without = nees(errors, [pose.covariance for pose in poses])
    with_light = nees(errors, [pose.covariance_with(light_error) for pose in poses])
    row = [*cells, str(len(poses)), f"{change:.2f}", told(without), told(with_light)]
    return f"| {' | '.join(row)} |\n"


def main() -> int:
    """Run the benchmark; print the table and the error."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made, kept")
    parser.add_argument("--streets", type=int, nargs="+", default=list(range(10, 16)))
    parser.add_argument("--output", type=Path, help="write the table to a file too")
    args = parser.parse_args()
    bench = Bench(args.work, args.work, [])
    drives = {seed: street(bench, seed) for seed in args.streets}
    every = [
        pose for of_street in drives.values() for poses in of_street.values() for pose in poses
    ]
    found = float(
        minimize_scalar(
            lambda error: unlikelihood(every, error), bounds=(0.0, LARGEST_ERROR), method="bounded"
        ).x
    )
    table = HEADER
    for seed, of_street in drives.items():
        for light, poses in of_street.items():
            table += line([str(seed), light], poses, found)
    table += line(["all", ""], every, found)
    table += f"\nMost likely error: {found:.3f} px for each unit of the change (LIGHT_ERROR)\n"
    print(table, end="")
    if args.output is not None:
        with atomic_path(args.output) as path:
            path.write_text(table, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

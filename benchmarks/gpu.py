"""Poses, launches and times of the CUDA backend, on a GPU or on a mock of one.

    ./run bench gpu MAP IMAGES [--device cuda|mock] [--set KEY=VALUE ...]

MAP is a small map file and IMAGES the folder of its images. Each image is localized without itself
in the map, on the CPU (torch, float32) and on the device. The first table tells how far both poses
are apart. On a mock device the second tells launches, synchronisations and copies of one query by
stage; on CUDA it tells times and memory instead. Ends with 1 where poses are further apart than
LIMITS, or are not the same in a second run.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from shared.mock_cuda import Log, mock_cuda

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.query import admit
from deviloc_ros.localization.types import Localization, PoseEstimate
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.open_map import open_map

# Millimetres and degrees between the poses of both devices.
LIMITS = (1.0, 0.005)
BATCHES = (1, 4, 16)


@dataclass(frozen=True)
class Scene:
    """A map and its images.

    Attributes:
        map: the map.
        images: of its references, in their order.
        cameras: of the images.
    """

    map: Map
    images: Sequence[NDArray[np.uint8]]
    cameras: Sequence[Camera]

    @staticmethod
    def read(path: Path, folder: Path, count: int) -> Scene:
        """Read a map and its first images."""
        opened = open_map(path)
        references = opened.references[:count]
        images = [read_gray(folder / reference.name) for reference in references]
        cameras = [
            reference.camera.fitted_to(*image.shape[::-1])
            for reference, image in zip(references, images, strict=True)
        ]
        return Scene(opened, images, cameras)

    def poses(self, localizer: Localizer) -> list[Localization]:
        """Localize each image without itself in the map."""
        found = []
        extractor = localizer._pipeline.extractor
        for index, (image, camera) in enumerate(zip(self.images, self.cameras, strict=True)):
            query = admit([image], [camera], extractor).queries[0]
            found.append(localizer.localize_query(query, excluded=np.array([index])))
        return found


def compare(scene: Scene, config: LocalizerConfig) -> tuple[Localizer, bool]:
    """Print how far the poses of both devices are apart; return the device's localizer."""
    torch_on_cpu = config.features.model_copy(update={"backend": "torch"})
    cpu = config.model_copy(update={"device": "cpu", "features": torch_on_cpu})
    theirs = scene.poses(Localizer(scene.map, cpu))
    localizer = Localizer(scene.map, config)
    localizer.warm_up()
    ours, again = scene.poses(localizer), scene.poses(localizer)
    apart, same, posed = [], 0, 0
    for first, second, repeated in zip(theirs, ours, again, strict=True):
        if not isinstance(first, PoseEstimate) or not isinstance(second, PoseEstimate):
            continue
        posed += 1
        metres, degrees = first.map_from_camera.distance_to(second.map_from_camera)
        apart.append((1e3 * metres, degrees))
        same += isinstance(repeated, PoseEstimate) and np.array_equal(
            second.camera_from_map.matrix, repeated.camera_from_map.matrix
        )
    alike = sum(isinstance(a, PoseEstimate) == isinstance(b, PoseEstimate)
                for a, b in zip(theirs, ours, strict=True))  # fmt: skip
    worst = np.max(apart, axis=0) if apart else np.full(2, np.nan)
    print(f"poses alike          {alike} of {len(ours)} images ({posed} posed on both)")
    print(f"worst apart          {worst[0]:.3f} mm, {worst[1]:.5f} deg")
    print(f"equal bit for bit    {same} of {posed} in a second run")
    passed = alike == len(ours) and same == posed and bool((worst <= LIMITS).all())
    return localizer, passed


def print_counts(scene: Scene, localizer: Localizer, log: Log) -> None:
    """Print what one query asks of a mock device."""
    log.clear()
    localizer.localize(scene.images[0], scene.cameras[0])
    print(f"\n{'stage':12s}{'launches':>10s}{'waits':>8s}{'copies':>8s}")
    for stage, counts in log.of_stages().items():
        print(f"{stage:12s}{counts[0]:10d}{counts[1]:8d}{counts[2]:8d}")
    print(f"{'all':12s}{log.num_launches:10d}{log.num_synchronisations:8d}")
    for (stage, place, operation), count in log.synchronisations.most_common():
        print(f"  waits {count} times in {stage}: {place} ({operation})")


def print_times(scene: Scene, localizer: Localizer, repeats: int) -> None:
    """Print times and memory on a GPU."""
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}")
    stages = defaultdict(list)
    walls = []
    torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats):
        start = time.perf_counter()
        found = localizer.localize(scene.images[0], scene.cameras[0])
        walls.append(time.perf_counter() - start)
        for stage, seconds in found.stage_seconds.items():
            stages[stage].append(seconds)
    for stage, seconds in stages.items():
        print(f"{stage:12s}{1e3 * statistics.median(seconds):8.2f} ms")
    print(f"{'image to pose':12s}{1e3 * statistics.median(walls):7.2f} ms")
    print(f"largest memory {torch.cuda.max_memory_allocated() / 1e6:.0f} MB")
    for count in BATCHES:
        chosen = [index % len(scene.images) for index in range(count)]
        images = [scene.images[index] for index in chosen]
        cameras = [scene.cameras[index] for index in chosen]
        localizer.localize_batch(images, cameras)
        start = time.perf_counter()
        for _ in range(max(1, repeats // count)):
            localizer.localize_batch(images, cameras)
        took = (time.perf_counter() - start) / max(1, repeats // count)
        print(f"batches of {count:2d}: {count / took:.1f} images a second")


@contextlib.contextmanager
def device_of(name: str) -> Iterator[Log | None]:
    """Make the mock device, if it is asked for."""
    if name == "mock":
        with mock_cuda() as log:
            yield log
    else:
        yield None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("map", type=Path, metavar="MAP")
    parser.add_argument("images", type=Path, metavar="IMAGES")
    parser.add_argument("--device", choices=("cuda", "mock"), default="cuda")
    parser.add_argument("--count", type=int, default=8, help="number of images (8)")
    parser.add_argument("--repeats", type=int, default=20, help="of what is timed (20)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    with device_of(arguments.device) as log:
        config = load(LocalizerConfig, assignments=[*arguments.set, "device=cuda"])
        scene = Scene.read(arguments.map, arguments.images, arguments.count)
        localizer, passed = compare(scene, config)
        if log is not None:
            print_counts(scene, localizer, log)
        else:
            print_times(scene, localizer, arguments.repeats)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

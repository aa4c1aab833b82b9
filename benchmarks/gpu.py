"""Poses, launches and times of the CUDA backend, on a GPU or on a mock of one.

    ./run bench gpu MAP IMAGES [--device cuda|mock] [--topicfm PX] [--processes N ...]
                   [--set KEY=VALUE ...]

MAP is a small map file and IMAGES the folder of its images. Each image is localized without itself
in the map, on the CPU (torch, float32) and on the device. The first table tells how far both poses
are apart; a batch and a rig are compared with single images and with the CPU. On a mock device the
second tells launches, synchronisations and copies of one query by stage; on CUDA it tells times,
memory, kernels and how much of the time they are busy instead. `--topicfm` does the same with the
networks of topicfm, whose weights are made by a rule, and `--processes` tells how many images a
second so many processes localize that share the GPU. Ends with 1 where poses are further apart
than LIMITS, or are not the same in a second run. To run it on a machine without network, see
gpu_machine.sh.
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
from shared.gpu_processes import print_rates
from shared.gpu_report import print_kernels, print_log
from shared.gpu_topicfm import print_topicfm
from shared.mock_cuda import Log, mock_cuda

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.query import admit
from deviloc_ros.localization.rig.types import RigEstimate
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

    def some(self, count: int) -> tuple[list[NDArray[np.uint8]], list[Camera]]:
        """Return so many images and their cameras, the same ones again where there are fewer."""
        chosen = [index % len(self.images) for index in range(count)]
        return [self.images[i] for i in chosen], [self.cameras[i] for i in chosen]

    def poses(self, localizer: Localizer) -> list[Localization]:
        """Localize each image without itself in the map."""
        found = []
        extractor = localizer._pipeline.extractor
        for index, (image, camera) in enumerate(zip(self.images, self.cameras, strict=True)):
            query = admit([image], [camera], extractor).queries[0]
            found.append(localizer.localize_query(query, excluded=np.array([index])))
        return found


def on_cpu(config: LocalizerConfig) -> LocalizerConfig:
    """Return a configuration for the CPU: torch, float32."""
    features = config.features.model_copy(update={"backend": "torch"})
    return config.model_copy(update={"device": "cpu", "features": features})


def millimetres_and_degrees(one: PoseEstimate, other: PoseEstimate) -> tuple[float, float]:
    """Return how far two poses are apart."""
    metres, degrees = one.map_from_camera.distance_to(other.map_from_camera)
    return 1e3 * metres, degrees


def compare(scene: Scene, config: LocalizerConfig) -> tuple[Localizer, bool]:
    """Print how far the poses of both devices are apart; return the device's localizer."""
    theirs = scene.poses(Localizer(scene.map, on_cpu(config)))
    localizer = Localizer(scene.map, config)
    localizer.warm_up()
    ours, again = scene.poses(localizer), scene.poses(localizer)
    apart, same, posed = [], 0, 0
    for first, second, repeated in zip(theirs, ours, again, strict=True):
        if not isinstance(first, PoseEstimate) or not isinstance(second, PoseEstimate):
            continue
        posed += 1
        apart.append(millimetres_and_degrees(first, second))
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
    print_log(log)


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
    print_kernels(lambda: localizer.localize(scene.images[0], scene.cameras[0]))
    for count in BATCHES:
        images, cameras = scene.some(count)
        localizer.localize_batch(images, cameras)
        start = time.perf_counter()
        for _ in range(max(1, repeats // count)):
            localizer.localize_batch(images, cameras)
        took = (time.perf_counter() - start) / max(1, repeats // count)
        print(f"batches of {count:2d}: {count / took:.1f} images a second")


def compare_several(scene: Scene, config: LocalizerConfig, localizer: Localizer) -> bool:
    """Print how far a batch is from single images, and a rig on the device from one on the CPU."""
    images, cameras = scene.some(3)
    together = localizer.localize_batch(images, cameras)
    alone = [localizer.localize(*each) for each in zip(images, cameras, strict=True)]
    apart = [
        millimetres_and_degrees(one, other)
        for one, other in zip(together, alone, strict=True)
        if isinstance(one, PoseEstimate) and isinstance(other, PoseEstimate)
    ]
    worst = np.max(apart, axis=0) if len(apart) == len(images) else np.full(2, np.nan)
    print(f"batch against single {worst[0]:.3f} mm, {worst[1]:.5f} deg")
    poses = [reference.camera_from_map for reference in scene.map.references[:3]]
    places = [poses[0] @ pose.inverse() for pose in poses]
    rigs = [
        each.localize_rig(images, cameras, places)
        for each in (Localizer(scene.map, on_cpu(config)), localizer)
    ]
    rig = np.full(2, np.nan)
    if isinstance(rigs[0], RigEstimate) and isinstance(rigs[1], RigEstimate):
        metres, degrees = rigs[0].map_from_base.distance_to(rigs[1].map_from_base)
        rig = np.array([1e3 * metres, degrees])
    print(f"rig against the CPU  {rig[0]:.3f} mm, {rig[1]:.5f} deg")
    return bool((worst <= LIMITS).all() and (rig <= LIMITS).all())


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
    parser.add_argument("--topicfm", type=int, metavar="PX", help="images of this size, too")
    parser.add_argument("--processes", type=int, nargs="*", default=[], metavar="N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    with device_of(arguments.device) as log:
        assignments = [*arguments.set, "device=cuda"]
        config = load(LocalizerConfig, assignments=assignments)
        scene = Scene.read(arguments.map, arguments.images, arguments.count)
        localizer, passed = compare(scene, config)
        passed &= compare_several(scene, config, localizer)
        if log is not None:
            print_counts(scene, localizer, log)
        else:
            print_times(scene, localizer, arguments.repeats)
        if arguments.topicfm is not None:
            print_topicfm(scene.images[:2], arguments.topicfm, log, arguments.repeats)
        images = list(zip(scene.images, scene.cameras, strict=True))
        print_rates(arguments.map, images, assignments, arguments.processes)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

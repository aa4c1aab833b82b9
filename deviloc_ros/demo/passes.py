"""The two drives of the demo: one by day for the map, one in the evening to be localized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deviloc_ros.bags import types
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.datasets.poses import write_tum
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import write_image
from deviloc_ros.simulation.drive import Drive, mounted, odometry
from deviloc_ros.simulation.light import DAY, EVENING, Light, expose
from deviloc_ros.simulation.renderer import Renderer
from deviloc_ros.simulation.street import LANE, Street

IMAGE_TOPIC = "/camera/image_raw"
INFO_TOPIC = "/camera/camera_info"
OPTICAL_FRAME = "camera_optical"
CAMERA = Camera("PINHOLE", 640, 480, (420.0, 420.0, 320.0, 240.0))
Moments = Sequence[tuple[int, Transform]]


@dataclass(frozen=True)
class Scene:
    """What is driven through, and with what.

    Attributes:
        seed: of the street, its light and the sensor's noise.
        length: of the drives, metres.
        spacing: of the map's images, metres.
        queries: images of the second pass.
        camera: intrinsics.
    """

    seed: int = 0
    length: float = 60.0
    spacing: float = 1.6
    queries: int = 56
    camera: Camera = CAMERA

    @property
    def base_from_camera(self) -> Transform:
        """Where the camera sits on the robot: not in its middle, and looking slightly up."""
        return mounted()

    @property
    def first_pass(self) -> Drive:
        """By day on the right lane."""
        speed = 4.0
        return Drive(
            lane=-LANE, start=2.0, end=2.0 + self.length, speed=speed, rate=speed / self.spacing
        )

    @property
    def second_pass(self) -> Drive:
        """In the evening on the left lane, a day later, between the map's ends."""
        speed, start = 4.0, 3.7
        end = 2.0 + max(self.length - 4.0, 3.0)
        rate = max(self.queries - 1, 1) * speed / (end - start)
        return Drive(
            lane=LANE, start=start, end=end + 1e-6, speed=speed, rate=rate, yaw=0.06, sway=0.3,
            start_stamp=self.first_pass.start_stamp + 86_400 * NANOSECONDS,
        )  # fmt: skip

    def street(self, second: bool) -> Street:
        """Return the street: a day later other cars are parked, and lamps are lit."""
        return Street(
            seed=self.seed, traffic_seed=int(second), length=self.length + 44.0, evening=second
        )


@dataclass(frozen=True)
class Recording:
    """The second pass.

    Attributes:
        bag: image, camera_info, tf (odom -> base_link), tf_static (base_link -> camera).
        truth: (stamp, map_from_base) of every image.
        odometry: (stamp, odom_from_base), with drift.
    """

    bag: Path
    truth: Moments
    odometry: Moments


def photograph_first_pass(scene: Scene, folder: Path) -> tuple[Path, Path]:
    """Render the map's images and write their COLMAP model; return both folders."""
    images, model = folder / "images", folder / "model"
    images.mkdir(parents=True, exist_ok=True)
    moments = scene.first_pass.poses(scene.street(second=False))
    names = [f"{index:04d}.png" for index in range(len(moments))]
    for stale in set(images.glob("*.png")) - {images / name for name in names}:
        stale.unlink()
    camera = _Camera(scene, DAY, second=False)
    posed = []
    for name, (_, map_from_base) in zip(tqdm(names, desc="first pass, day"), moments, strict=True):
        map_from_camera = map_from_base @ scene.base_from_camera
        write_image(images / name, camera.take(map_from_camera))
        posed.append(PosedImage(name, scene.camera, map_from_camera.inverse()))
    camera.close()
    write_posed_images(model, posed)
    return images, model


def record_second_pass(scene: Scene, folder: Path) -> Recording:
    """Render the second pass into a bag, and write the truth beside it (truth_tum.txt)."""
    moments = scene.second_pass.poses(scene.street(second=True))
    measured = odometry(moments, np.random.default_rng([scene.seed, 7]))
    camera = _Camera(scene, EVENING, second=True)
    path = folder / "second_pass"
    with BagWriter(path) as writer:
        begin = moments[0][0]
        static = types.tf(begin, "base_link", OPTICAL_FRAME, scene.base_from_camera)
        writer.write("/tf_static", begin, static, latched=True)
        for (stamp, map_from_base), (_, odom_from_base) in zip(
            tqdm(moments, desc="second pass, evening"), measured, strict=True
        ):
            pixels = camera.take(map_from_base @ scene.base_from_camera)
            writer.write("/tf", stamp, types.tf(stamp, "odom", "base_link", odom_from_base))
            writer.write("/odom", stamp, types.odometry(stamp, "odom", "base_link", odom_from_base))
            info = types.camera_info(stamp, OPTICAL_FRAME, scene.camera)
            writer.write(INFO_TOPIC, stamp, info)
            writer.write(IMAGE_TOPIC, stamp, types.image(stamp, OPTICAL_FRAME, pixels))
    camera.close()
    write_tum(folder / "truth_tum.txt", moments)
    return Recording(path, moments, measured)


class _Camera:
    """The robot's camera in one light."""

    def __init__(self, scene: Scene, light: Light, second: bool) -> None:
        self._scene = scene
        self._light = light
        self._rng = np.random.default_rng([scene.seed, int(second), 3])
        self._renderer = Renderer(scene.street(second).meshes(), light, scene.seed)

    def take(self, map_from_camera: Transform) -> np.ndarray:
        view = self._renderer.render(self._scene.camera, map_from_camera)
        return expose(view.image, self._light, self._rng)

    def close(self) -> None:
        self._renderer.close()

"""What RobotCar's cameras see of the simulated street."""

from __future__ import annotations

import cv2
import numpy as np

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.light import DAY, expose
from deviloc_ros.simulation.renderer import Renderer
from deviloc_ros.simulation.street import Street


class Scene:
    """The simulated street by day, as folders of test data want it."""

    def __init__(self) -> None:
        self._renderer = Renderer(Street().meshes(), DAY)
        self._rng = np.random.default_rng(0)

    def colours(self, map_from_optical: Transform, rays: np.ndarray) -> np.ndarray:
        """Return what is seen along rays: a picture is taken and looked up."""
        size, reach = 440, 1.35
        focal = size / 2 / reach
        camera = Camera("PINHOLE", size, size, (focal, focal, size / 2, size / 2))
        image = self._renderer.render(camera, map_from_optical).image
        x, y = (rays[..., i].astype(np.float32) * focal + size / 2 - 0.5 for i in (0, 1))
        seen = cv2.remap(image, x, y, cv2.INTER_LINEAR)
        return expose(np.asarray(seen, dtype=np.uint8), DAY, self._rng)

    def depth(self, camera: Camera, map_from_optical: Transform) -> np.ndarray:
        """Return the depth of every pixel."""
        depth = self._renderer.render(camera, map_from_optical, depth=True).depth
        assert depth is not None
        return depth

    def close(self) -> None:
        """Free the graphics memory."""
        self._renderer.close()

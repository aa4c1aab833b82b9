"""Cameras on a robot, arranged as on the Oxford RobotCar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.drive import mounted


@dataclass(frozen=True)
class RigCamera:
    """One camera of a rig.

    Attributes:
        name: such as left.
        camera: intrinsics.
        base_from_camera: where it sits; its optical frame has z forward and y down.
    """

    name: str
    camera: Camera
    base_from_camera: Transform

    @property
    def optical_frame(self) -> str:
        """Its frame in TF."""
        return f"{self.name}_optical"


def robotcar_rig(size: int = 1024, with_front: bool = False) -> tuple[RigCamera, ...]:
    """Return cameras that look left, to the rear and right, without overlap.

    Their images are square and undistorted, with a field of view of about 104 degrees, as those of
    RobotCar Seasons (Sattler et al., "Benchmarking 6DOF Outdoor Visual Localization in Changing
    Conditions", CVPR 2018). Places on the robot are made up.

    Args:
        size: of the images, pixels a side; 1024 in the data set.
        with_front: add a camera that looks ahead.
    """
    focal = 400.0 * size / 1024
    camera = Camera("PINHOLE", size, size, (focal, focal, size / 2, size / 2))
    left = RigCamera("left", camera, mounted(-0.1, 0.4, 1.6, np.pi / 2, -0.05))
    rear = RigCamera("rear", camera, mounted(-0.9, 0.0, 1.7, np.pi, -0.05))
    right = RigCamera("right", camera, mounted(-0.1, -0.4, 1.6, -np.pi / 2, -0.05))
    front = RigCamera("front", camera, mounted(1.2, 0.1, 1.5))
    return (left, rear, right, front) if with_front else (left, rear, right)

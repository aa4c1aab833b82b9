"""A camera that is fixed on a rig."""

from __future__ import annotations

from dataclasses import dataclass

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class MountedCamera:
    """A camera and its place.

    Attributes:
        camera: intrinsics.
        camera_from_rig: its place; the rig's frame is that of its first camera.
    """

    camera: Camera
    camera_from_rig: Transform

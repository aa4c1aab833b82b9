"""The calibration that an image carries with it from where it was received."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.camera_info import (
    CameraInfoMessage,
    camera_from_info,
    rectified_from_camera,
)


class NoCalibrationError(InputError):
    """Nothing is known of the camera yet."""


class CameraCalibration(Protocol):
    """What is known of the camera that took an image."""

    def of(self, size: tuple[int, int]) -> tuple[Camera, Transform]:
        """Return the camera of an image of a size, width and height, and optical_from_camera.

        The rotation is CameraInfo's R for rectified images, else the identity.

        Raises:
            NoCalibrationError: there is no calibration yet.
            InputError: it cannot be used, or does not belong to an image of that size.
        """


@dataclass(frozen=True, eq=False)
class InfoCalibration:
    """A camera_info.

    Attributes:
        info: the sensor_msgs/CameraInfo that was received last before the image.
        rectified: the images are rectified, so that P holds, and K and D do not.
    """

    info: CameraInfoMessage
    rectified: bool

    def of(self, size: tuple[int, int]) -> tuple[Camera, Transform]:
        """Return the camera and optical_from_camera; see `CameraCalibration.of`."""
        camera = camera_from_info(self.info, size, self.rectified)
        if not self.rectified:
            return camera, Transform.identity()
        return camera, rectified_from_camera(self.info).inverse()


@dataclass(frozen=True)
class FixedCalibration:
    """A camera that was given instead of a camera_info."""

    camera: Camera

    def of(self, size: tuple[int, int]) -> tuple[Camera, Transform]:
        """Return the camera, whose frame is the optical one; see `CameraCalibration.of`."""
        if size != (self.camera.width, self.camera.height):
            raise InputError(
                f"the image has {size[0]} x {size[1]} pixels, the camera that was given "
                f"{self.camera.width} x {self.camera.height}"
            )
        return self.camera, Transform.identity()


@dataclass(frozen=True)
class NoCalibration:
    """None has come yet.

    Attributes:
        topic: where it should come.
    """

    topic: str

    def of(self, size: tuple[int, int]) -> tuple[Camera, Transform]:
        """Raise NoCalibrationError."""
        raise NoCalibrationError(f"no message on {self.topic} yet")

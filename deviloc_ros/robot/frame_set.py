"""The images of one instant, of one camera or of all cameras of a rig."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deviloc_ros.robot.calibration import CameraCalibration


@dataclass(frozen=True, eq=False)
class Frame:
    """An image as it came, with what was known of its camera then.

    Attributes:
        camera: name of the camera in `cameras`; empty for the only one.
        image: what `read_pixels` of `localize_frames` takes: a sensor_msgs/Image or
            CompressedImage, of rclpy or out of a bag.
        stamp: of the image, nanoseconds.
        frame_id: the optical frame named by the image.
        calibration: of the camera.
    """

    camera: str
    image: Any
    stamp: int
    frame_id: str
    calibration: CameraCalibration


@dataclass(frozen=True)
class FrameSet:
    """Images that are localized together; a single camera's is a set of one.

    Attributes:
        stamp: that the pose will carry, nanoseconds.
        frames: at least one, in the order of `cameras`.
        missing: cameras without an image of this instant.
    """

    stamp: int
    frames: tuple[Frame, ...]
    missing: tuple[str, ...] = ()

    @staticmethod
    def of(frame: Frame) -> FrameSet:
        """Return the set of one image."""
        return FrameSet(frame.stamp, (frame,))

    @property
    def of_rig(self) -> bool:
        """Whether the robot has several cameras, be there images of them or not."""
        return len(self.frames) + len(self.missing) > 1

"""The images of one instant, of one camera or of all cameras of a rig."""

from __future__ import annotations

from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image


@dataclass(frozen=True)
class Frame:
    """An image as it came.

    Attributes:
        camera: name of the camera in `cameras`; empty for the only one.
        message: the image.
        stamp: of the image, nanoseconds.
        frame_id: the optical frame named by the image.
    """

    camera: str
    message: Image | CompressedImage
    stamp: int
    frame_id: str


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

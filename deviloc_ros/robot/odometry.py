"""odom -> base at the stamps of images."""

from __future__ import annotations

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.config import FrameConfig
from deviloc_ros.robot.transform_buffer import TransformLookup, TransformUnavailableError


class Odometry:
    """Looks odometry up, and waits for it only on robots that have been seen to have it."""

    def __init__(self, frames: FrameConfig, transforms: TransformLookup) -> None:
        """Take names of frames and a source of transforms."""
        self._frames = frames
        self._transforms = transforms
        self._seen = False
        # The prior, what was learned and the transform that is published ask for one stamp.
        self._last: tuple[int, Transform] | None = None

    @property
    def configured(self) -> bool:
        """Whether the robot has odometry at all."""
        return bool(self._frames.odom)

    def forget(self) -> None:
        """Begin anew, as after time jumped back."""
        self._seen = False
        self._last = None

    def at(self, stamp: int, timeout: float) -> Transform:
        """Return odom_from_base at a stamp, nanoseconds, waiting up to `timeout` seconds.

        Raises:
            TransformUnavailableError: there is none at that stamp, or none at all.
        """
        odom, base = self._frames.odom, self._frames.base
        if not odom:
            raise TransformUnavailableError("frames.odom is empty")
        if not self._seen:
            self._seen = self._transforms.connected(odom, base)
        if not self._seen:
            raise TransformUnavailableError(
                f"no transform joins {odom!r} and {base!r} yet; on a robot without odometry, set "
                "frames.odom to an empty name"
            )
        if (last := self._last) is not None and last[0] == stamp:
            return last[1]
        found = self._transforms.lookup(odom, base, stamp, timeout)
        self._last = stamp, found
        return found

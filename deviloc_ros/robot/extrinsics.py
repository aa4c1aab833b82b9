"""Where the cameras sit on the robot: from TF or from numbers given, and never from a guess."""

from __future__ import annotations

from collections.abc import Mapping

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.config import FrameConfig, RobotConfig
from deviloc_ros.robot.frame_set import Frame
from deviloc_ros.robot.transform_buffer import TransformLookup


class Extrinsics:
    """Gives base_from_camera, the optical frame's pose in the base frame."""

    def __init__(
        self,
        frames: FrameConfig,
        transforms: TransformLookup,
        timeout: float,
        fixed: Mapping[str, Transform],
    ) -> None:
        """Take what is known.

        Args:
            frames: names of frames.
            transforms: where the other cameras sit.
            timeout: seconds to wait for a transform.
            fixed: base_from_camera of cameras by name; they are not looked up.
        """
        self._frames = frames
        self._transforms = transforms
        self._timeout = timeout
        self._fixed = fixed
        self._odom_seen = False

    def base_from_camera(self, frame: Frame, stamp: int) -> Transform:
        """Return the pose of the camera of an image in the base frame at another stamp.

        The images of a rig are not taken at the same time. Where odometry is known, the base is
        carried from the image's stamp to that of the set: base(stamp)_from_camera(frame.stamp). For
        a single image the two stamps are the same. A camera may sit on a moving mast.

        Args:
            frame: the image; `frames.camera` goes before the optical frame that it names.
            stamp: that the pose will carry, nanoseconds.

        Raises:
            TransformUnavailableError: TF does not know where the camera is, or odometry does not
                reach to one of the stamps.
        """
        mount = self._fixed.get(frame.camera)
        if mount is None:
            camera = self._frames.camera or frame.frame_id
            mount = self._lookup(self._frames.base, camera, frame.stamp)
        if frame.stamp == stamp or not self._has_odom():
            return mount
        odom, base = self._frames.odom, self._frames.base
        then, now = self._lookup(odom, base, frame.stamp), self._lookup(odom, base, stamp)
        return now.inverse() @ then @ mount

    def _lookup(self, target: str, source: str, stamp: int) -> Transform:
        return self._transforms.lookup(target, source, stamp, self._timeout)

    def _has_odom(self) -> bool:
        if not self._odom_seen and self._frames.odom:
            self._odom_seen = self._transforms.connected(self._frames.odom, self._frames.base)
        return self._odom_seen


def fixed_extrinsics(config: RobotConfig) -> dict[str, Transform]:
    """Return base_from_camera by name where the configuration gives it, else nothing."""
    if config.extrinsics.source == "tf":
        return {}
    return config.extrinsics.mounts(config.cameras)

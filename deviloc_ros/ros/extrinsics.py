"""Where the camera sits on the robot: from TF or from parameters, and never from a guess."""

from __future__ import annotations

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.ros.frame_set import Frame
from deviloc_ros.ros.parameters import NodeConfig
from deviloc_ros.ros.transforms import TransformLookup


class Extrinsics:
    """Gives base_from_camera, the optical frame's pose in the base frame."""

    def __init__(self, config: NodeConfig, transforms: TransformLookup) -> None:
        """Take the parameters and a source of transforms."""
        self._frames = config.frames
        self._timeout = config.tf.lookup_timeout
        self._transforms = transforms
        self._fixed: Transform | None = None
        if config.extrinsics.source == "parameters":
            x, y, z, w = config.extrinsics.rotation
            self._fixed = Transform.from_quaternion((w, x, y, z), config.extrinsics.translation)

    def base_from_camera(self, frame: Frame) -> Transform:
        """Return the pose in the base frame of the camera of an image, at the image's stamp.

        Args:
            frame: the image; `frames.camera` goes before the optical frame that it names. A camera
                may sit on a moving mast.

        Raises:
            TransformUnavailableError: TF does not know it.
        """
        if self._fixed is not None:
            return self._fixed
        camera = self._frames.camera or frame.frame_id
        return self._transforms.lookup(self._frames.base, camera, frame.stamp, self._timeout)

"""Configuration of what the node sees with: cameras, their topics, where they sit, their timing."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from pydantic import Field

from deviloc_ros.config import Section
from deviloc_ros.geometry.transform import Transform

ONE_CAMERA = ("",)
"""The value of `cameras` for a single camera, on `image` and `camera_info`."""


class ImageConfig(Section):
    """The image topics."""

    transport: Literal["raw", "compressed"] = Field(
        "raw", description="raw reads `image`, compressed reads `image/compressed`"
    )
    reliability: Literal["best_effort", "reliable"] = Field(
        "best_effort",
        description="QoS of the subscription; best_effort is compatible with every publisher",
    )
    depth: int = Field(1, ge=1, le=1000, description="QoS depth of the subscription")
    rectified: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="images are rectified, so P of camera_info holds; auto: if the topic's name "
        "has `rect` in it",
    )


class ExtrinsicsConfig(Section):
    """Where the cameras sit on the robot."""

    source: Literal["tf", "parameters"] = Field(
        "tf", description="source of base_from_camera; tf: looked up at the image's stamp"
    )
    translation: list[float] = Field(
        [0.0, 0.0, 0.0],
        description="with source parameters: origin of the camera in the base frame, x y z in m; "
        "for a rig three numbers per camera, in the order of `cameras`",
    )
    rotation: list[float] = Field(
        [0.0, 0.0, 0.0, 0.0],
        description="with source parameters: base_from_camera as a unit quaternion x y z w, the "
        "optical frame has z forward, x right; for a rig four numbers per camera",
    )

    def mounts(self, cameras: list[str]) -> dict[str, Transform]:
        """Return base_from_camera by name.

        Raises:
            ValueError: there are not as many numbers as the cameras need, or no unit quaternions.
        """
        result = {}
        for key, values, size in (
            ("translation", self.translation, 3),
            ("rotation", self.rotation, 4),
        ):
            if len(values) != size * len(cameras):
                raise ValueError(
                    f"extrinsics.{key} has {len(values)} numbers; {len(cameras)} camera(s) need "
                    f"{size * len(cameras)}"
                )
        rotations = np.reshape(self.rotation, (-1, 4))
        translations = np.reshape(self.translation, (-1, 3))
        for name, quaternion, translation in zip(cameras, rotations, translations, strict=True):
            if not abs(np.sum(quaternion**2) - 1) < 1e-3:
                of_camera = f" for camera {name}" if name else ""
                raise ValueError(
                    "source parameters needs extrinsics.rotation, a unit quaternion x y z w; it "
                    f"is {quaternion.tolist()}{of_camera}"
                )
            x, y, z, w = quaternion
            result[name] = Transform.from_quaternion((w, x, y, z), translation)
        return result


class SyncConfig(Section):
    """Which images of a rig are of one instant."""

    tolerance: float = Field(
        0.02, ge=0, le=1, description="maximum difference of the stamps in one set, s"
    )
    timeout: float = Field(0.1, gt=0, le=2, description="maximum time to wait for late images, s")


def check_cameras(cameras: list[str], extrinsics: ExtrinsicsConfig, camera_frame: str) -> None:
    """Refuse names of cameras that are no topics, and parameters that do not fit them.

    Args:
        cameras: their names.
        extrinsics: where they sit.
        camera_frame: `frames.camera`.

    Raises:
        ValueError: with what would be right.
    """
    rig = tuple(cameras) != ONE_CAMERA
    wrong = [name for name in cameras if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)]
    if rig and (wrong or len(set(cameras)) != len(cameras) or not cameras):
        raise ValueError(
            f"cameras = {cameras}: names must differ and be made of letters, digits and _, letters "
            'first; [""] is a single camera on `image`'
        )
    if rig and camera_frame:
        raise ValueError(
            f"frames.camera = {camera_frame!r} holds for a single camera; the frames of a rig are "
            "the frame_id of its images"
        )
    if extrinsics.source == "parameters":
        extrinsics.mounts(cameras)

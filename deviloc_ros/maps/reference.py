"""One image of a map, without what is stored of its pixels."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class Reference:
    """One image of the map.

    Attributes:
        name: its path below the folder the map was built from.
        camera: intrinsics.
        camera_from_map: pose.
        look: which look of the place it shows, such as "night"; empty: that of the map's first
            images.
    """

    name: str
    camera: Camera
    camera_from_map: Transform
    look: str = ""

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Reference:
        """Read what `to_json` returns.

        Raises:
            InputError, ValueError: it has no such camera, or no rotation.
        """
        pose = Transform.from_quaternion(values["quaternion_wxyz"], values["translation"])
        # Maps of one look, and all older ones, do not name it.
        look = str(values.get("look", ""))
        return Reference(values["name"], _camera(values["camera"]), pose, look)

    def to_json(self) -> dict[str, Any]:
        """Return the reference as JSON-serialisable values."""
        return {
            "name": self.name,
            "camera": str(self.camera),
            "quaternion_wxyz": self.camera_from_map.quaternion_wxyz.tolist(),
            "translation": self.camera_from_map.translation.tolist(),
            **({"look": self.look} if self.look else {}),
        }


# Thousands of images have few cameras.
_camera = functools.lru_cache(1024)(Camera.parse)

"""A reference image of a map: its name, camera and pose."""

from __future__ import annotations

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
    """

    name: str
    camera: Camera
    camera_from_map: Transform

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Reference:
        """Read what `to_json` returns.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        pose = Transform.from_quaternion(values["quaternion_wxyz"], values["translation"])
        return Reference(values["name"], Camera.parse(values["camera"]), pose)

    def to_json(self) -> dict[str, Any]:
        """Return the reference as JSON-serialisable values."""
        return {
            "name": self.name,
            "camera": str(self.camera),
            "quaternion_wxyz": self.camera_from_map.quaternion_wxyz.tolist(),
            "translation": self.camera_from_map.translation.tolist(),
        }

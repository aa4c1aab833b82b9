"""rig.yaml: the cameras of a rig in a bag, and where they sit.

A parameter file of the node is taken as well: it names the cameras, and the bag has their topics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from deviloc_ros.config import Section, build, keys, read_yaml
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.config import Rectified, RobotConfig, SyncConfig

Number = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


class MountConfig(Section):
    """Where a camera sits: base_from_camera, the optical frame having z forward and x right."""

    translation: tuple[Number, Number, Number]
    """The camera's origin in the base frame, x y z, metres."""
    rotation: tuple[Number, Number, Number, Number]
    """Unit quaternion x y z w."""

    @field_validator("rotation")
    @classmethod
    def _is_unit(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not abs(sum(number**2 for number in value) - 1) < 1e-3:
            raise ValueError("must be a unit quaternion x y z w")
        return value

    @property
    def base_from_camera(self) -> Transform:
        """The pose of the optical frame in the base frame."""
        x, y, z, w = self.rotation
        return Transform.from_quaternion((w, x, y, z), self.translation)


class CameraConfig(Section):
    """One camera. Without extrinsics the bag's transforms must say where it sits."""

    topic: Name
    camera_info: Name | None = None
    """Its topic; absent: beside the images."""
    camera: Name | None = None
    """COLMAP's MODEL w h PARAMS instead of camera_info."""
    rectified: Rectified = "auto"
    extrinsics: MountConfig | None = None


class RigConfig(Section):
    """The whole file."""

    base: Name | None = None
    """The frame whose pose is reported; absent: frames.base."""
    sync: SyncConfig | None = None
    cameras: dict[str, CameraConfig]


@dataclass(frozen=True)
class CameraDescription:
    """What is known of one camera before the bag is opened.

    Attributes:
        topic: of its images.
        camera_info: its topic; None: beside the images.
        camera: intrinsics that replace camera_info.
        rectified: auto, yes or no.
        mount: base_from_camera; None: the bag's transforms say it.
    """

    topic: str
    camera_info: str | None = None
    camera: Camera | None = None
    rectified: Rectified = "auto"
    mount: Transform | None = None


@dataclass(frozen=True)
class RigDescription:
    """What a file says about a rig.

    Attributes:
        values: keys of `RobotConfig` that it sets.
        cameras: by name; empty for a parameter file of the node.
    """

    values: Mapping[str, Any]
    cameras: Mapping[str, CameraDescription]


def read_rig(path: Path, node_config: type[RobotConfig]) -> RigDescription:
    """Read rig.yaml, or a parameter file of the node (`/**: ros__parameters:`).

    Args:
        path: the file.
        node_config: the schema of the node's parameters.

    Raises:
        InputError: it cannot be read, or a key or value in it is wrong.
    """
    content = read_yaml(path)
    nodes = [item for item in content.values() if isinstance(item, dict)]
    if len(content) == 1 and len(nodes) == 1 and list(nodes[0]) == ["ros__parameters"]:
        return _of_node(path, nodes[0]["ros__parameters"] or {}, node_config)
    try:
        rig = RigConfig.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_line(error)}") from None
    if not rig.cameras:
        raise InputError(f"{path}: cameras is empty; it maps a name to each camera's topic")
    values: dict[str, Any] = {"cameras": list(rig.cameras)}
    if rig.base is not None:
        values["frames.base"] = rig.base
    if rig.sync is not None:
        values |= {f"sync.{name}": getattr(rig.sync, name) for name in rig.sync.model_fields_set}
    return RigDescription(
        values, {name: _camera(path, name, item) for name, item in rig.cameras.items()}
    )


def _of_node(path: Path, values: Any, node_config: type[RobotConfig]) -> RigDescription:
    """Keep what a robot needs of the node's parameters; all of them must be right."""
    if not isinstance(values, dict):
        raise InputError(f"{path}: ros__parameters must hold 'key: value' lines")
    config = build(node_config, values, str(path))
    known = {key.name for key in keys(RobotConfig)}
    kept = {name: value for name, value in _flat(config.model_dump(exclude_unset=True))}
    return RigDescription({name: value for name, value in kept.items() if name in known}, {})


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        pairs += _flat(value, f"{prefix}{name}.") if nested else [(f"{prefix}{name}", value)]
    return pairs


def _camera(path: Path, name: str, given: CameraConfig) -> CameraDescription:
    try:
        camera = None if given.camera is None else Camera.parse(given.camera)
    except InputError as error:
        raise InputError(f"{path}: cameras.{name}.camera: {error}") from None
    mount = None if given.extrinsics is None else given.extrinsics.base_from_camera
    return CameraDescription(given.topic, given.camera_info, camera, given.rectified, mount)


def _line(error: ValidationError) -> str:
    """Return what is wrong first, and what would be right."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    name = ".".join(place) or "the file"
    if first["type"] == "extra_forbidden":
        schemas: dict[tuple[str, int], type[Section]] = {
            ("sync", 2): SyncConfig,
            ("cameras", 3): CameraConfig,
            ("cameras", 4): MountConfig,
        }
        schema = schemas.get((place[0], len(place)), RigConfig)
        return f"{name} is not a known key; known there: {', '.join(schema.model_fields)}"
    if first["type"] == "missing":
        return f"{name} is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{name} = {first['input']!r}: {message[0].lower()}{message[1:]}"

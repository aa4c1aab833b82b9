"""The node's parameters: one schema, from which declarations, checks and documentation follow.

The localizer's own keys have the same names here, in YAML files and on the command line.
"""

from __future__ import annotations

import array
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from deviloc_ros.config import Key, LocalizerConfig, Section, build, keys
from deviloc_ros.errors import InputError

READ_ONLY = frozenset({"autostart"})
"""Keys that matter only while the node starts."""

INTEGER_LIMIT = 2**63 - 1


class MapConfig(Section):
    """Which map."""

    path: str = Field("", description="map file, made by `deviloc map build`; required")


class FrameConfig(Section):
    """Names of coordinate frames (REP-105)."""

    map: str = Field("map", min_length=1, description="frame of the map")
    odom: str = Field("odom", description="odometry frame; empty: there is none")
    base: str = Field("base_link", min_length=1, description="frame whose pose is reported")
    camera: str = Field(
        "", description="optical frame of the camera; empty: the frame_id of the images"
    )


class ImageConfig(Section):
    """The image topic."""

    transport: Literal["raw", "compressed"] = Field(
        "raw", description="raw reads `image`, compressed reads `image/compressed`"
    )
    reliability: Literal["best_effort", "reliable"] = Field(
        "best_effort",
        description="QoS of the subscription; best_effort receives from any publisher",
    )
    depth: int = Field(1, ge=1, le=1000, description="QoS history of the subscription")
    rectified: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="images are rectified, so P of camera_info holds; auto: if the topic's name "
        "has `rect` in it",
    )


class ExtrinsicsConfig(Section):
    """Where the camera sits on the robot."""

    source: Literal["tf", "parameters"] = Field(
        "tf", description="tf looks base_from_camera up at the image's stamp"
    )
    translation: list[float] = Field(
        [0.0, 0.0, 0.0],
        min_length=3,
        max_length=3,
        description="with source parameters: the camera's origin in the base frame, x y z in m",
    )
    rotation: list[float] = Field(
        [0.0, 0.0, 0.0, 0.0],
        min_length=4,
        max_length=4,
        description="with source parameters: base_from_camera as a unit quaternion x y z w; "
        "the optical frame has z forward, x right",
    )

    @model_validator(mode="after")
    def _complete(self) -> ExtrinsicsConfig:
        norm = sum(value * value for value in self.rotation)
        if self.source == "parameters" and abs(norm - 1) > 1e-3:
            raise ValueError(
                "source parameters needs extrinsics.rotation, a unit quaternion x y z w; it is "
                f"{self.rotation}"
            )
        return self


class TfConfig(Section):
    """The transform that is published."""

    publish: Literal["map_to_odom", "map_to_base", "none"] = Field(
        "map_to_odom", description="which transform goes to /tf"
    )
    without_odom: Literal["map_to_base", "none"] = Field(
        "map_to_base",
        description="what map_to_odom publishes while no transform from odom to base was ever seen",
    )
    tolerance: float = Field(
        0.5, ge=0, le=60, description="map_to_odom is stamped this far into the future, s"
    )
    lookup_timeout: float = Field(
        0.1, ge=0, le=10, description="wait this long for a transform at the image's stamp, s"
    )
    allow_non_metric_map: bool = Field(
        False, description="publish TF from a map that is not metric or not aligned to gravity"
    )


class DebugConfig(Section):
    """Output for people."""

    publish_image: bool = Field(
        False, description="publish ~/debug_image while somebody subscribes to it"
    )


class DiagnosticsConfig(Section):
    """When diagnostics complain."""

    period: float = Field(1.0, gt=0, le=60, description="time between messages, s")
    max_fix_age: float = Field(
        5.0, gt=0, le=3600, description="WARN when active without a pose for longer, s"
    )
    max_latency: float = Field(
        0.5, gt=0, le=3600, description="a result this long after its image's stamp is late, s"
    )


class NodeConfig(LocalizerConfig):
    """Everything the node can be told: the localizer's keys and its own."""

    autostart: bool = Field(
        False, description="configure and activate at start, without a lifecycle manager"
    )
    map: MapConfig = MapConfig()
    frames: FrameConfig = FrameConfig()
    image: ImageConfig = ImageConfig()
    extrinsics: ExtrinsicsConfig = ExtrinsicsConfig()
    tf: TfConfig = TfConfig()
    debug: DebugConfig = DebugConfig()
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()


class NodeParameters:
    """Declares the schema's keys on a node and keeps their values valid.

    The node must have been made with `automatically_declare_parameters_from_overrides`: so values
    given at start are seen before types and bounds are set, and a misspelt name is not ignored.

    Raises:
        InputError: a value given at start is unknown or wrong.
    """

    def __init__(self, node: Node) -> None:
        """Declare everything."""
        self._node = node
        self._source = f"parameters of {node.get_fully_qualified_name()}"
        foreign = {"use_sim_time", "start_type_description_service"}
        given = {
            name: plain(parameter.value)
            for name, parameter in node.get_parameters_by_prefix("").items()
            if name not in foreign and not name.startswith("qos_overrides.")
        }
        config = build(NodeConfig, given, self._source)
        for key in keys(NodeConfig):
            if node.has_parameter(key.name):
                node.undeclare_parameter(key.name)
            node.declare_parameter(
                key.name,
                value_of(config, key.name),
                descriptor(key),
                ignore_override=True,
            )

    def config(self) -> NodeConfig:
        """Return the present values.

        Raises:
            InputError: they contradict each other.
        """
        return build(NodeConfig, dict(self._values()), self._source)

    def check(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        """Say whether changes would leave a valid configuration, and if not, why."""
        known = {key.name for key in keys(NodeConfig)}
        values = dict(self._values())
        values.update({c.name: plain(c.value) for c in changes if c.name in known})
        try:
            build(NodeConfig, values, self._source)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _values(self) -> Iterator[tuple[str, Any]]:
        for key in keys(NodeConfig):
            yield key.name, plain(self._node.get_parameter(key.name).value)


def value_of(config: Section, name: str) -> Any:
    """Return the value of a dotted key."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def plain(value: Any) -> Any:
    """Return a parameter's value as the schema takes it: ROS' arrays become lists."""
    return list(value) if isinstance(value, array.array) else value


def descriptor(key: Key) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows of a key.

    ROS' ranges include their ends; where the schema's does not, `check` refuses the end itself.
    """
    result = ParameterDescriptor(description=key.description, read_only=key.name in READ_ONLY)
    if key.choices:
        result.additional_constraints = f"one of {', '.join(key.choices)}"
    if key.minimum is None and key.maximum is None:
        return result
    if key.type is int:
        low = -INTEGER_LIMIT if key.minimum is None else int(key.minimum[0])
        high = INTEGER_LIMIT if key.maximum is None else int(key.maximum[0])
        result.integer_range = [IntegerRange(from_value=low, to_value=high)]
    else:
        first = float("-inf") if key.minimum is None else float(key.minimum[0])
        last = float("inf") if key.maximum is None else float(key.maximum[0])
        result.floating_point_range = [FloatingPointRange(from_value=first, to_value=last)]
    return result

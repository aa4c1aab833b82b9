"""Declares the configuration's keys as ROS parameters, and keeps their values valid."""

from __future__ import annotations

import array
from collections.abc import Iterator
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from deviloc_ros.config import Key, Section, build, keys
from deviloc_ros.ros.config.node_config import START_ONLY, NodeConfig

INTEGER_LIMIT = 2**63 - 1


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

    def changed(self, changes: list[Parameter[Any]]) -> NodeConfig:
        """Return what changes would make of the configuration.

        Raises:
            InputError: they would leave an invalid one.
        """
        known = {key.name for key in keys(NodeConfig)}
        values = dict(self._values())
        values.update({c.name: plain(c.value) for c in changes if c.name in known})
        return build(NodeConfig, values, self._source)

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

    ROS' ranges include their ends; where the schema's does not, `changed` refuses the end itself.
    """
    result = ParameterDescriptor(description=key.description, read_only=key.name in START_ONLY)
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

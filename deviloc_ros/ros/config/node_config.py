"""The node's configuration: a robot's keys and those of a ROS graph, in one schema.

The localizer's own keys have the same names here, in YAML files and on the command line.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deviloc_ros.config import Section, keys
from deviloc_ros.robot.config import RectifiedConfig, RobotConfig
from deviloc_ros.ros.config.output_config import BondConfig, DiagnosticsConfig, TfConfig

START_ONLY = frozenset({"autostart"})
"""Keys that matter only while the node starts."""

DYNAMIC_SECTIONS = ("verification", "tf", "tracking", "prior", "debug", "diagnostics")
"""Sections whose keys can be changed at any time, but for these:"""
FIXED_KEYS = {
    "tf.publish": "a frame keeps its parent",
    "prior.restore": "it is read when the node becomes active",
}


class MapConfig(Section):
    """Which map."""

    path: str = Field("", description="map file, made by `deviloc map build`; required")


class ImageConfig(RectifiedConfig):
    """The image topics."""

    transport: Literal["raw", "compressed"] = Field(
        "raw", description="raw reads `image`, compressed reads `image/compressed`"
    )
    reliability: Literal["best_effort", "reliable"] = Field(
        "best_effort",
        description="QoS of the subscription; best_effort is compatible with every publisher",
    )
    depth: int = Field(1, ge=1, le=1000, description="QoS depth of the subscription")


class DebugConfig(Section):
    """Output for people."""

    publish_image: bool = Field(
        False, description="publish ~/debug_image while it has a subscriber"
    )


class NodeConfig(RobotConfig):
    """Everything the node can be told: a robot's keys and those of a ROS graph."""

    autostart: bool = Field(
        False, description="configure and activate at start, without a lifecycle manager"
    )
    map: MapConfig = MapConfig()
    image: ImageConfig = ImageConfig()
    tf: TfConfig = TfConfig()
    debug: DebugConfig = DebugConfig()
    bond: BondConfig = BondConfig()
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()


def why_fixed(name: str) -> str:
    """Return why a key cannot be changed while a map is loaded; empty if it can."""
    if name == "map.path" or (
        name.partition(".")[0] in DYNAMIC_SECTIONS and name not in FIXED_KEYS
    ):
        return ""
    reason = FIXED_KEYS.get(name, "it is read when the node is configured")
    return f"{name}: {reason}; deactivate and clean up the node first"


def dynamic_keys() -> list[str]:
    """Return the keys that can be changed at any time."""
    return [key.name for key in keys(NodeConfig) if not why_fixed(key.name)]

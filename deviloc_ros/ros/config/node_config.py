"""The node's configuration: the localizer's keys and its own, in one schema.

The localizer's own keys have the same names here, in YAML files and on the command line.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from deviloc_ros.config import LocalizerConfig, Section, keys
from deviloc_ros.ros.config.camera_config import (
    ExtrinsicsConfig,
    ImageConfig,
    SyncConfig,
    check_cameras,
)
from deviloc_ros.ros.config.state_config import (
    DiagnosticsConfig,
    GnssConfig,
    PriorConfig,
    TfConfig,
    TrackingConfig,
)

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


class FrameConfig(Section):
    """Names of coordinate frames (REP-105)."""

    map: str = Field("map", min_length=1, description="frame of the map")
    odom: str = Field("odom", description="odometry frame; empty: no odometry")
    base: str = Field("base_link", min_length=1, description="frame whose pose is published")
    camera: str = Field(
        "", description="optical frame of the camera; empty: the frame_id of the images"
    )


class DebugConfig(Section):
    """Output for people."""

    publish_image: bool = Field(
        False, description="publish ~/debug_image while it has a subscriber"
    )


class NodeConfig(LocalizerConfig):
    """Everything the node can be told: the localizer's keys and its own."""

    autostart: bool = Field(
        False, description="configure and activate at start, without a lifecycle manager"
    )
    cameras: list[str] = Field(
        [""],
        description="names of the cameras of a rig, on `<name>/image` and `<name>/camera_info`; "
        "one empty name: a single camera on `image` and `camera_info`",
    )
    map: MapConfig = MapConfig()
    frames: FrameConfig = FrameConfig()
    image: ImageConfig = ImageConfig()
    extrinsics: ExtrinsicsConfig = ExtrinsicsConfig()
    sync: SyncConfig = SyncConfig()
    tf: TfConfig = TfConfig()
    tracking: TrackingConfig = TrackingConfig()
    prior: PriorConfig = PriorConfig()
    gnss: GnssConfig = GnssConfig()
    debug: DebugConfig = DebugConfig()
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()

    @model_validator(mode="after")
    def _cameras_fit(self) -> NodeConfig:
        check_cameras(self.cameras, self.extrinsics, self.frames.camera)
        return self


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

"""Parameters of the transform that the node publishes, and of its diagnostics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deviloc_ros.config import Section


class TfConfig(Section):
    """The transform that is published."""

    publish: Literal["map_to_odom", "map_to_base", "none"] = Field(
        "map_to_odom",
        description="which transform goes to /tf; without frames.odom, map_to_odom is map_to_base",
    )
    tolerance: float = Field(
        0.5, ge=0, le=60, description="map -> odom is stamped this far into the future, s"
    )
    rate: float = Field(
        20.0, gt=0, le=1000, description="map -> odom is published so often between fixes, Hz"
    )
    max_age: float = Field(
        60.0, ge=0, le=1e6, description="no map -> odom so long after the last fix, s; 0: for ever"
    )
    smoothing: float = Field(
        0.0, ge=0, le=60, description="time constant of corrections, s; 0: jumps are published"
    )
    smoothing_limit: float = Field(
        1.0, ge=0, le=1e6, description="larger corrections are published at once, m"
    )
    planar: bool = Field(
        False, description="z, roll and pitch of map -> odom are 0, for robots in a plane"
    )
    lookup_timeout: float = Field(
        0.1, ge=0, le=10, description="wait this long for a transform at the image's stamp, s"
    )
    allow_non_metric_map: bool = Field(
        False, description="publish TF from a map that is not metric or not aligned to gravity"
    )


class BondConfig(Section):
    """A bond with a lifecycle manager, such as Nav2's."""

    enabled: bool = Field(
        False, description="hold a bond while active, as Nav2's nodes do; needs the package bond"
    )
    timeout: float = Field(
        4.0, gt=0, le=3600, description="a manager that is silent for so long is gone, s"
    )
    heartbeat_period: float = Field(
        0.1, gt=0, le=60, description="time between heartbeats to the manager, s"
    )


class BudgetConfig(Section):
    """Seconds that a stage may take on average; 0: as long as it likes."""

    wait: float = Field(0.0, ge=0, le=3600, description="from an image's stamp to its turn, s")
    extract: float = Field(0.0, ge=0, le=3600, description="features, s")
    retrieve: float = Field(0.0, ge=0, le=3600, description="retrieval, s")
    match: float = Field(0.0, ge=0, le=3600, description="matching, s")
    pose: float = Field(0.0, ge=0, le=3600, description="RANSAC-PnP and refinement, s")


class DiagnosticsConfig(Section):
    """When diagnostics complain."""

    period: float = Field(1.0, gt=0, le=60, description="time between messages, s")
    max_fix_age: float = Field(
        5.0, gt=0, le=3600, description="WARN when active without a pose for longer, s"
    )
    lost_after: float = Field(
        30.0, gt=0, le=1e6, description="ERROR when active without a pose for longer, s"
    )
    max_latency: float = Field(
        0.5, gt=0, le=3600, description="WARN when results come later after the stamp, mean, s"
    )
    excessive_latency: float = Field(
        2.0, gt=0, le=3600, description="ERROR when results come later after the stamp, mean, s"
    )
    min_rate: float = Field(0.0, ge=0, le=1000, description="WARN below so many poses a second")
    min_inliers: int = Field(
        0, ge=0, le=100000, description="WARN when poses rest on fewer inliers, mean"
    )
    max_dropped: float = Field(
        1.0, ge=0, le=1, description="WARN when a larger share of the images is dropped"
    )
    max_device_memory: float = Field(
        0.95, gt=0, le=1, description="WARN when a larger share of the device's memory is in use"
    )
    max_memory: int = Field(
        0, ge=0, le=10**7, description="WARN when the process holds more, MB; 0: no limit"
    )
    budget: BudgetConfig = BudgetConfig()

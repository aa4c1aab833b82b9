"""Parameters of the transform that the node publishes, and of its diagnostics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deviloc_ros.config import Section


class TfConfig(Section):
    """The transform that is published."""

    publish: Literal["map_to_odom", "map_to_base", "none"] = Field(
        "map_to_odom",
        description="transform on /tf; without frames.odom, map_to_odom acts as map_to_base",
    )
    tolerance: float = Field(
        0.5, ge=0, le=60, description="map -> odom is stamped this far in the future, s"
    )
    rate: float = Field(
        20.0, gt=0, le=1000, description="rate at which map -> odom is repeated between poses, Hz"
    )
    max_age: float = Field(
        60.0,
        ge=0,
        le=1e6,
        description="map -> odom stops this long after the last pose, s; 0: never",
    )
    smoothing: float = Field(
        0.0, ge=0, le=60, description="time constant of corrections, s; 0: corrections jump"
    )
    smoothing_limit: float = Field(
        1.0, ge=0, le=1e6, description="corrections larger than this are applied at once, m"
    )
    planar: bool = Field(
        False, description="for planar robots: z, roll and pitch of map -> odom are 0"
    )
    lookup_timeout: float = Field(
        0.1, ge=0, le=10, description="maximum time to wait for a transform at the image's stamp, s"
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

    wait: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="maximum mean time from an image's stamp until it is processed, s; 0: no limit",
    )
    extract: float = Field(
        0.0, ge=0, le=3600, description="maximum mean time for feature extraction, s; 0: no limit"
    )
    retrieve: float = Field(
        0.0, ge=0, le=3600, description="maximum mean time for retrieval, s; 0: no limit"
    )
    match: float = Field(
        0.0, ge=0, le=3600, description="maximum mean time for matching, s; 0: no limit"
    )
    pose: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="maximum mean time for RANSAC-PnP and refinement, s; 0: no limit",
    )


class DiagnosticsConfig(Section):
    """When diagnostics complain."""

    period: float = Field(1.0, gt=0, le=60, description="time between messages, s")
    max_fix_age: float = Field(
        5.0, gt=0, le=3600, description="WARN if active for longer without a pose, s"
    )
    lost_after: float = Field(
        30.0, gt=0, le=1e6, description="ERROR if active for longer without a pose, s"
    )
    max_latency: float = Field(
        0.5, gt=0, le=3600, description="WARN if the mean latency is larger, s"
    )
    excessive_latency: float = Field(
        2.0, gt=0, le=3600, description="ERROR if the mean latency is larger, s"
    )
    min_rate: float = Field(
        0.0, ge=0, le=1000, description="WARN if fewer poses per second are found"
    )
    min_inliers: int = Field(
        0, ge=0, le=100000, description="WARN if the mean number of inliers is smaller"
    )
    max_dropped: float = Field(
        1.0, ge=0, le=1, description="WARN if a larger share of the images is dropped"
    )
    max_device_memory: float = Field(
        0.95, gt=0, le=1, description="WARN if a larger share of the device's memory is used"
    )
    max_memory: int = Field(
        0, ge=0, le=10**7, description="WARN if the process uses more memory, MB; 0: no limit"
    )
    budget: BudgetConfig = BudgetConfig()

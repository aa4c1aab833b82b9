"""Parameters of what the node knows between images: transform, search, priors, diagnostics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from deviloc_ros.config import Section
from deviloc_ros.robot.carried_pose import Drift


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


class TrackingConfig(Section):
    """When the search is narrowed, and when it is widened."""

    enabled: bool = Field(
        True, description="search near the pose predicted by odometry; needs frames.odom"
    )
    references: int = Field(
        3, ge=1, le=100, description="number of references per image while tracking"
    )
    max_position_sigma: float = Field(
        2.0,
        gt=0,
        le=1e6,
        description="with a less certain prediction K references are used again, m",
    )
    max_refusals: int = Field(
        2,
        ge=1,
        le=1000,
        description="consecutive refusals near a prior before the whole map is searched",
    )


class PriorConfig(Section):
    """How far a prior is trusted; drift is a standard deviation."""

    min_position_sigma: float = Field(
        0.2, gt=0, le=1e6, description="minimum standard deviation of a prior's position, m"
    )
    min_rotation_sigma: float = Field(
        0.05, gt=0, le=3.2, description="minimum standard deviation of a prior's orientation, rad"
    )
    position_drift_per_metre: float = Field(
        0.05, ge=0, le=100, description="drift of odometry, m for each metre"
    )
    position_drift_per_second: float = Field(
        0.02, ge=0, le=100, description="drift of odometry, m for each second"
    )
    rotation_drift_per_radian: float = Field(
        0.05, ge=0, le=100, description="drift of odometry, rad for each radian"
    )
    rotation_drift_per_metre: float = Field(
        0.005, ge=0, le=100, description="drift of odometry, rad for each metre"
    )
    rotation_drift_per_second: float = Field(
        0.001, ge=0, le=100, description="drift of odometry, rad for each second"
    )
    file: str = Field(
        "", description="file for the last pose, saved when the node stops; empty: not saved"
    )
    restore: bool = Field(False, description="start with the pose in prior.file as prior")
    restored_position_sigma: float = Field(
        1.0, gt=0, le=1e6, description="minimum standard deviation of a restored position, m"
    )
    restored_rotation_sigma: float = Field(
        0.3, gt=0, le=3.2, description="minimum standard deviation of a restored orientation, rad"
    )

    @model_validator(mode="after")
    def _complete(self) -> PriorConfig:
        if self.restore and not self.file:
            raise ValueError("restore needs prior.file, where the last pose is saved; it is empty")
        return self

    @property
    def drift(self) -> Drift:
        """Of the odometry."""
        return Drift(
            self.position_drift_per_metre,
            self.position_drift_per_second,
            self.rotation_drift_per_radian,
            self.rotation_drift_per_metre,
            self.rotation_drift_per_second,
        )


class GnssConfig(Section):
    """Satellite positions as priors, in a map whose place on the earth is known."""

    enabled: bool = Field(False, description="use `fix` as a prior if no pose is known")
    latitude: float = Field(
        0.0, ge=-90, le=90, description="latitude of the map's origin, WGS 84, deg"
    )
    longitude: float = Field(0.0, ge=-180, le=180, description="longitude of the map's origin, deg")
    altitude: float = Field(
        0.0, ge=-1e4, le=1e5, description="altitude of the map's origin above the ellipsoid, m"
    )
    heading: float = Field(
        0.0,
        ge=-360,
        le=360,
        description="angle from east to the map's x axis, counter-clockwise, deg",
    )
    min_sigma: float = Field(
        3.0, gt=0, le=1e6, description="minimum standard deviation of a fix, m"
    )
    unknown_sigma: float = Field(
        15.0, gt=0, le=1e6, description="standard deviation of a fix without covariance, m"
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

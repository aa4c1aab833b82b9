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


class TrackingConfig(Section):
    """When the search is narrowed, and when it is widened."""

    enabled: bool = Field(
        True, description="search near the last pose, carried by odometry; needs frames.odom"
    )
    references: int = Field(
        3, ge=1, le=100, description="references per image while the prediction is good"
    )
    max_position_sigma: float = Field(
        2.0, gt=0, le=1e6, description="a prediction this uncertain takes K references again, m"
    )
    max_refusals: int = Field(
        2, ge=1, le=1000, description="refusals in a row near a prior, then the whole map"
    )


class PriorConfig(Section):
    """How far a prior is trusted; drift is a standard deviation."""

    min_position_sigma: float = Field(
        0.2, gt=0, le=1e6, description="no prior is taken to be better than this, m"
    )
    min_rotation_sigma: float = Field(
        0.05, gt=0, le=3.2, description="no prior is taken to be better than this, rad"
    )
    position_drift_per_metre: float = Field(
        0.05, ge=0, le=100, description="of odometry, m for each metre"
    )
    position_drift_per_second: float = Field(
        0.02, ge=0, le=100, description="of odometry, m for each second"
    )
    rotation_drift_per_radian: float = Field(
        0.05, ge=0, le=100, description="of odometry, rad for each radian"
    )
    rotation_drift_per_metre: float = Field(
        0.005, ge=0, le=100, description="of odometry, rad for each metre"
    )
    rotation_drift_per_second: float = Field(
        0.001, ge=0, le=100, description="of odometry, rad for each second"
    )
    file: str = Field(
        "", description="the last pose is saved here when the node stops; empty: nowhere"
    )
    restore: bool = Field(False, description="begin near the pose in prior.file")
    restored_position_sigma: float = Field(
        1.0, gt=0, le=1e6, description="a restored pose is at least so uncertain, m"
    )
    restored_rotation_sigma: float = Field(
        0.3, gt=0, le=3.2, description="a restored pose is at least so uncertain, rad"
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

    enabled: bool = Field(False, description="take `fix` as a prior where nothing better is known")
    latitude: float = Field(0.0, ge=-90, le=90, description="of the map's origin, WGS 84, deg")
    longitude: float = Field(0.0, ge=-180, le=180, description="of the map's origin, deg")
    altitude: float = Field(
        0.0, ge=-1e4, le=1e5, description="of the map's origin, above the ellipsoid, m"
    )
    heading: float = Field(
        0.0, ge=-360, le=360, description="from east to the map's x axis, counter-clockwise, deg"
    )
    min_sigma: float = Field(
        3.0, gt=0, le=1e6, description="a fix is not taken to be better than this, m"
    )
    unknown_sigma: float = Field(
        15.0, gt=0, le=1e6, description="of a fix that does not tell its covariance, m"
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

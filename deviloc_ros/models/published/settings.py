"""Settings of matcher topicfm; benchmarks have sets of their own (config/benchmarks/*.yaml)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from deviloc_ros.schema import Section

Behaviour = Literal["compat", "fix"]
Precision = Literal["float32", "bfloat16", "float16"]


class PublishedSettings(Section):
    """What the published code can be told; the defaults are those of its code."""

    behaviour: Behaviour = Field(
        "compat",
        description="compat reproduces the published code; fix corrects pixel convention, "
        "distances and negative depths, and uses aggregation.* and pose.*",
    )
    image_size: int = Field(
        864, ge=32, le=4096, description="longer side of the query in the network, px"
    )
    coarse_threshold: float = Field(
        0.25, ge=1e-3, lt=1, description="minimum coarse confidence of a match, exclusive"
    )
    border: int = Field(
        2, ge=0, le=64, description="border without matches, in coarse cells of 8 px"
    )
    max_matches: int = Field(
        2048, ge=1, le=100000, description="maximum number of matches per reference"
    )
    min_observations: int = Field(
        50,
        ge=0,
        le=10**6,
        description="references with this many observed points or fewer are not used",
    )
    max_observations: int = Field(
        10000, ge=1, le=10**6, description="maximum number of observed points per reference"
    )
    cell_size: float = Field(
        2.0,
        gt=0,
        le=64,
        description="a match this close to an observed point takes its 3D point, px; with compat "
        "also the cell size s of Q_s",
    )
    min_confidence: float = Field(
        0.1, ge=0, lt=1, description="compat: minimum confidence of a 2D-3D match, exclusive"
    )
    ransac_threshold: float = Field(
        5.0, gt=0, le=1000, description="compat: maximum reprojection error of an inlier, px"
    )
    ransac_max_trials: int = Field(
        10000, ge=1, le=10**7, description="compat: maximum number of RANSAC trials"
    )
    ransac_confidence: float = Field(
        0.99999, gt=0, lt=1, description="compat: confidence at which RANSAC stops"
    )

    @model_validator(mode="after")
    def _observations_in_order(self) -> PublishedSettings:
        if self.min_observations >= self.max_observations:
            raise ValueError("min_observations must be below max_observations")
        return self


class TopicFmConfig(PublishedSettings):
    """Matcher topicfm: TopicFM-fast and PIN."""

    precision: Precision = Field(
        "float32", description="precision of the matcher's products; float16 needs CUDA"
    )
    cache_mb: int = Field(
        2000,
        ge=0,
        le=10**7,
        description="maximum size of the cache of encoded references on the device, MB",
    )
    cache_folder: str = Field(
        "", description="folder that caches encoded references between runs; empty: none"
    )
    cache_folder_mb: int = Field(
        20000,
        ge=1,
        le=10**8,
        description="maximum size of that folder, MB; the least recently used files are deleted",
    )

"""Thresholds of the published method, one set per benchmark (config/benchmarks/*.yaml)."""

from __future__ import annotations

import enum
from pathlib import Path

from pydantic import Field, model_validator

from deviloc_ros.config import Section, load


class Behaviour(enum.Enum):
    """Whether the published code's habits are kept or mended."""

    COMPAT = "compat"
    FIX = "fix"


class PublishedSettings(Section):
    """Settings of DeViLoc as published; the defaults are those of its code."""

    behaviour: Behaviour = Field(
        Behaviour.COMPAT,
        description="compat reproduces the published code; fix mends pixel convention, "
        "distances, merging and negative depths",
    )
    image_size: int = Field(
        864, ge=32, le=4096, description="longer side of the query as the network sees it, px"
    )
    coarse_threshold: float = Field(
        0.25, ge=1e-3, lt=1, description="least coarse confidence of a match, exclusive"
    )
    border: int = Field(2, ge=0, le=64, description="rim without matches, coarse cells of 8 px")
    max_matches: int = Field(2048, ge=1, le=100000, description="matches kept per reference")
    cell_size: float = Field(
        2.0, gt=0, le=64, description="s of Q_s, and how near an observed point must be, px"
    )
    min_confidence: float = Field(
        0.1, ge=0, lt=1, description="least confidence of a 2D-3D match, exclusive"
    )
    ransac_threshold: float = Field(
        5.0, gt=0, le=1000, description="largest reprojection error of an inlier, px"
    )
    ransac_max_trials: int = Field(10000, ge=1, le=10**7, description="RANSAC trials at most")
    ransac_confidence: float = Field(
        0.99999, gt=0, lt=1, description="RANSAC stops at this confidence"
    )
    num_references: int = Field(10, ge=1, le=1000, description="K, references per query")
    min_observations: int = Field(
        50, ge=0, le=10**6, description="references with no more observed points are left out"
    )
    max_observations: int = Field(
        10000, ge=1, le=10**6, description="observed points used of one reference"
    )
    cluster: bool = Field(False, description="one pose per covisibility cluster, most inliers wins")
    pairs: str = Field("", description="retrieval file of the benchmark, relative to its folder")

    @model_validator(mode="after")
    def _observations_in_order(self) -> PublishedSettings:
        if self.min_observations >= self.max_observations:
            raise ValueError("min_observations must be below max_observations")
        return self

    @staticmethod
    def read(path: Path) -> PublishedSettings:
        """Read a YAML file.

        Raises:
            InputError: it is not readable, or a key or value in it is wrong.
        """
        return load(PublishedSettings, path)

"""The one configuration schema: Python, YAML, command line and ROS parameters all use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from deviloc_ros.models.published.settings import TopicFmConfig
from deviloc_ros.schema import Key, Section, build, keys, load

__all__ = ["Key", "LocalizerConfig", "Section", "build", "keys", "load"]


class FeatureConfig(Section):
    """Dense features of the default matcher, XFeat*."""

    max_size: int = Field(1024, ge=64, le=8192, description="longer side images are reduced to, px")
    num_keypoints: int = Field(4096, ge=64, le=65536, description="features kept per image")
    backend: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="what runs the backbone: auto is OpenVINO on a CPU that has it"
    )


class RetrievalConfig(Section):
    """Which reference images a query is matched to."""

    num_references: int = Field(5, ge=1, le=100, description="K, reference images per query")
    cluster: bool = Field(
        True, description="estimate one pose per covisibility cluster, best cluster wins"
    )
    prior_sigmas: float = Field(
        4.0, gt=0, le=100, description="how uncertain a prior is taken to be, its sigmas"
    )
    prior_reach: float = Field(
        20.0, ge=0, le=1e6, description="references this far beyond a prior's gate still count, m"
    )
    prior_angle: float = Field(
        60.0, ge=0, le=180, description="view directions this far beyond the gate still count, deg"
    )


class MatchingConfig(Section):
    """Query-to-reference matching."""

    matcher: Literal["xfeat", "topicfm"] = Field("xfeat", description="which network matches")
    num_matches: int = Field(
        1200, ge=10, le=100000, description="matches refined per reference, most similar first"
    )
    fine_confidence: float = Field(
        0.25, ge=0, le=1, description="least confidence of a match's fine offset"
    )
    cached_references: int = Field(
        256, ge=1, le=1000000, description="references whose descriptors and images stay in memory"
    )


class LiftingConfig(Section):
    """A 3D point for every reference keypoint (fixed when the map is built)."""

    method: Literal["learned", "geometric"] = Field(
        "geometric",
        description="how unobserved keypoints get their depth: by a network or by triangles",
    )
    observed_radius: float = Field(
        3.0,
        gt=0,
        le=100,
        description="an SfM point this near makes a keypoint observed, px at 1024",
    )
    neighbours: int = Field(
        8,
        ge=0,
        le=1000,
        description="references that each reference's depths are made to agree with; 0: none",
    )

    @field_validator("method", mode="before")
    @classmethod
    def _renamed(cls, method: Any) -> Any:
        # PIN is the paper's network; the one that this names is another.
        if method == "pin":
            raise ValueError("this method is called 'learned' now")
        return method


class AggregationConfig(Section):
    """Confidence-based Point Aggregation (CPA)."""

    cell_size: float = Field(4.0, gt=0, le=64, description="s of Q_s, query px at max_size")
    min_confidence: float = Field(
        0.3, ge=0, lt=1, description="matches with a less certain 3D point are left out"
    )


class PoseConfig(Section):
    """RANSAC-PnP."""

    max_reprojection_error: float = Field(
        6.0, gt=0, le=100, description="largest error of an inlier, query px at max_size"
    )
    loss_scale: float = Field(
        1.0, gt=0, le=100, description="of the robust (Cauchy) loss in refinement, px at max_size"
    )
    max_iterations: int = Field(10000, ge=10, le=1000000, description="RANSAC trials at most")
    confidence: float = Field(0.9999, gt=0, lt=1, description="RANSAC stops at this confidence")
    covariance_factor: float = Field(
        1.0,
        ge=0.01,
        le=1000,
        description="on covariances, beside the map's own: light and views that no map image has",
    )


class AlignmentConfig(Section):
    """Matches of the best pose moved to where the images themselves agree (matcher xfeat)."""

    enabled: bool = Field(
        True, description="align matches by their pixels, in maps that hold images"
    )
    num_matches: int = Field(
        2000, ge=30, le=100000, description="matches aligned per query, taken evenly"
    )


class VerificationConfig(Section):
    """When a pose is believed."""

    min_inliers: int = Field(30, ge=4, le=100000, description="fewest inliers of a pose")
    min_inlier_ratio: float = Field(0.1, ge=0, le=1, description="least share of inliers")
    min_coverage: float = Field(
        0.05, ge=0, le=1, description="least share of the image's 8x8 cells with inliers"
    )
    max_rival_ratio: float = Field(
        0.7,
        gt=0,
        le=1,
        description="a pose elsewhere with this share of the best's inliers: ambiguous",
    )
    max_position_sigma: float = Field(
        1.0, gt=0, le=1000, description="largest position standard deviation, m"
    )
    prior_gate_sigmas: float = Field(
        5.0, gt=0, le=100, description="largest distance from a prior, sigmas"
    )


class TileConfig(Section):
    """Maps that are made of tiles (`deviloc map tile`)."""

    loaded: int = Field(6, ge=1, le=10000, description="tiles that are in memory at most")
    prefetch_distance: float = Field(
        60.0, ge=0, le=1e6, description="tiles this near are fetched ahead, m"
    )


class LocalizerConfig(Section):
    """Everything the localizer can be told."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "retrieval.prior_gate_sigmas": "retrieval.prior_sigmas",
    }

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where networks run: auto is CUDA where there is one"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of every random choice")
    features: FeatureConfig = FeatureConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    matching: MatchingConfig = MatchingConfig()
    lifting: LiftingConfig = LiftingConfig()
    aggregation: AggregationConfig = AggregationConfig()
    pose: PoseConfig = PoseConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    verification: VerificationConfig = VerificationConfig()
    tiles: TileConfig = TileConfig()
    topicfm: TopicFmConfig = TopicFmConfig()

"""The one configuration schema: Python, YAML, command line and ROS parameters all use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from deviloc_ros.models.published.settings import TopicFmConfig
from deviloc_ros.schema import Key, Section, build, keys, load, read_yaml

__all__ = ["Key", "LocalizerConfig", "Section", "build", "keys", "load", "read_yaml"]


class FeatureConfig(Section):
    """Dense features of the default matcher, XFeat*."""

    max_size: int = Field(
        1024, ge=64, le=8192, description="images are reduced to this longer side, px"
    )
    num_keypoints: int = Field(4096, ge=64, le=65536, description="features per image")
    backend: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="what runs the backbone; auto: OpenVINO on a CPU if it is installed"
    )


class RetrievalConfig(Section):
    """Which reference images a query is matched to."""

    num_references: int = Field(
        5, ge=1, le=100, description="number of reference images per query (K)"
    )
    cluster: bool = Field(
        True,
        description="one pose per covisibility cluster; most inliers win",
    )
    prior_sigmas: float = Field(4.0, gt=0, le=100, description="size of a prior's gate, in sigmas")
    prior_reach: float = Field(
        20.0,
        ge=0,
        le=1e6,
        description="references up to this distance outside the gate are used, m",
    )
    prior_angle: float = Field(
        60.0,
        ge=0,
        le=180,
        description="references up to this angle outside the gate are used, deg",
    )


class MatchingConfig(Section):
    """Query-to-reference matching."""

    matcher: Literal["xfeat", "topicfm", "aliked"] = Field(
        "xfeat", description="network that matches"
    )
    num_matches: int = Field(
        1200,
        ge=10,
        le=100000,
        description="maximum number of matches refined per reference, most similar first",
    )
    fine_confidence: float = Field(
        0.25, ge=0, le=1, description="minimum confidence of a match's fine offset"
    )
    context: Literal["auto", "always", "never"] = Field(
        "auto",
        description="matching with attention between images, for night and other seasons: auto is "
        "where nearest neighbours are in doubt (matcher xfeat)",
    )
    context_keypoints: int = Field(
        2048, ge=64, le=65536, description="features of an image that attention looks at"
    )
    cached_references: int = Field(
        256,
        ge=1,
        le=1000000,
        description="references whose descriptors and images stay in memory, at most",
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
        description="a keypoint this close to an observed SfM point takes its depth, px at 1024",
    )
    neighbours: int = Field(
        8,
        ge=0,
        le=1000,
        description="images that each image's keypoints are triangulated with; 0: single view only",
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

    cell_size: float = Field(
        4.0, gt=0, le=64, description="cell size s of Q_s, query px at max_size"
    )
    min_confidence: float = Field(
        0.3, ge=0, lt=1, description="minimum confidence of a match's 3D point"
    )


class PoseConfig(Section):
    """RANSAC-PnP."""

    max_reprojection_error: float = Field(
        6.0,
        gt=0,
        le=100,
        description="maximum reprojection error of an inlier, query px at max_size",
    )
    loss_scale: float = Field(
        1.0, gt=0, le=100, description="scale of the Cauchy loss in the refinement, px at max_size"
    )
    max_iterations: int = Field(
        10000, ge=10, le=1000000, description="maximum number of RANSAC trials"
    )
    confidence: float = Field(0.9999, gt=0, lt=1, description="confidence at which RANSAC stops")
    covariance_factor: float = Field(
        1.0,
        ge=0.01,
        le=1000,
        description="additional factor on covariances, for conditions that the map lacks",
    )


class AlignmentConfig(Section):
    """Matches of the best pose moved to where the images themselves agree (matcher xfeat)."""

    enabled: bool = Field(
        True, description="photometric alignment of the matches, if the map contains images"
    )
    num_matches: int = Field(
        2000,
        ge=30,
        le=100000,
        description="maximum number of matches aligned per query, the same on each device",
    )


class VerificationConfig(Section):
    """When a pose is believed."""

    min_inliers: int = Field(30, ge=4, le=100000, description="minimum number of inliers")
    min_inlier_ratio: float = Field(0.1, ge=0, le=1, description="minimum inlier ratio")
    min_coverage: float = Field(
        0.05, ge=0, le=1, description="minimum share of the 8x8 image cells that contain inliers"
    )
    max_rival_ratio: float = Field(
        0.7,
        gt=0,
        le=1,
        description="ambiguous if a pose elsewhere has this share of the best's inliers",
    )
    max_log10_false_alarms: float = Field(
        -18.0,
        ge=-300,
        le=300,
        description="log10 of how many poses as good as this one chance may give; 300: any number",
    )
    max_rival_chance: float = Field(
        1e-6,
        gt=0,
        le=1,
        description="ambiguous if a second pose from the same references loses less clearly than "
        "fair coins would with this probability; 1 asks for no second pose",
    )
    max_position_sigma: float = Field(
        1.0, gt=0, le=1000, description="maximum standard deviation of the position, m"
    )
    prior_gate_sigmas: float = Field(
        5.0, gt=0, le=100, description="maximum distance from a prior, in sigmas"
    )


class TileConfig(Section):
    """Maps that are made of tiles (`deviloc map tile`)."""

    loaded: int = Field(6, ge=1, le=10000, description="maximum number of tiles in memory")
    prefetch_distance: float = Field(
        60.0, ge=0, le=1e6, description="tiles within this distance are loaded ahead, m"
    )


class CudaConfig(Section):
    """How a CUDA device computes."""

    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="precision of the networks of matcher xfeat on CUDA"
    )
    tf32: bool = Field(
        False,
        description="round float32 to TF32 on CUDA: faster, less exact; for the whole process",
    )
    graphs: bool = Field(
        True, description="record what is computed as CUDA graphs, one for each size of images"
    )
    memory_mb: int = Field(
        2000,
        ge=1,
        le=10**7,
        description="maximum size of the map's features and images on the device, MB; beyond it "
        "the least recently used references are replaced",
    )


class LocalizerConfig(Section):
    """Everything the localizer can be told."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "retrieval.prior_gate_sigmas": "retrieval.prior_sigmas",
    }

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="device of the networks; auto: CUDA if available"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of all random choices")
    features: FeatureConfig = FeatureConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    matching: MatchingConfig = MatchingConfig()
    lifting: LiftingConfig = LiftingConfig()
    aggregation: AggregationConfig = AggregationConfig()
    pose: PoseConfig = PoseConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    verification: VerificationConfig = VerificationConfig()
    tiles: TileConfig = TileConfig()
    cuda: CudaConfig = CudaConfig()
    topicfm: TopicFmConfig = TopicFmConfig()

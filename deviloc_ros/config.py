"""The one configuration schema: Python, YAML, command line and ROS parameters all use it.

A key is written with dots, `retrieval.num_references`, on the command line and as a ROS parameter,
and nested in YAML. Every key has a type, bounds, a default and a description.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deviloc_ros.errors import InputError


class Section(BaseModel):
    """A group of keys; immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


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
    prior_gate_sigmas: float = Field(
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
    fine_confidence: float = Field(
        0.25, ge=0, le=1, description="least confidence of a match's fine offset"
    )
    cached_references: int = Field(
        256, ge=1, le=1000000, description="references whose descriptors stay on the device"
    )


class LiftingConfig(Section):
    """A 3D point for every reference keypoint (fixed when the map is built)."""

    method: Literal["geometric"] = Field(
        "geometric", description="how unobserved keypoints get their 3D point"
    )
    observed_radius: float = Field(
        3.0,
        gt=0,
        le=100,
        description="an SfM point this near makes a keypoint observed, px at 1024",
    )


class AggregationConfig(Section):
    """Confidence-based Point Aggregation (CPA)."""

    cell_size: float = Field(4.0, gt=0, le=64, description="s of Q_s, query px at max_size")
    min_confidence: float = Field(
        0.1, ge=0, lt=1, description="matches with a less certain 3D point are left out"
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


class LocalizerConfig(Section):
    """Everything the localizer can be told."""

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
    verification: VerificationConfig = VerificationConfig()


@dataclass(frozen=True)
class Key:
    """One key of a schema, flattened.

    Attributes:
        name: dotted name.
        type: bool, int, float or str.
        default: its default value.
        description: one line.
        choices: the allowed strings, or empty.
        minimum: least value and whether the bound itself is allowed, or None.
        maximum: largest value and whether the bound itself is allowed, or None.
    """

    name: str
    type: type
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    minimum: tuple[float, bool] | None = None
    maximum: tuple[float, bool] | None = None


SectionType = TypeVar("SectionType", bound=Section)


def keys(schema: type[Section], prefix: str = "") -> Iterator[Key]:
    """Yield every key of a schema, in the order it was written."""
    for name, field in schema.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from keys(annotation, f"{prefix}{name}.")
            continue
        choices: tuple[str, ...] = ()
        if typing.get_origin(annotation) is Literal:
            choices, annotation = typing.get_args(annotation), str
        assert isinstance(annotation, type | types.GenericAlias), annotation
        bounds: dict[str, tuple[float, bool]] = {}
        for constraint in field.metadata:
            for side, attribute, inclusive in (
                ("minimum", "ge", True),
                ("minimum", "gt", False),
                ("maximum", "le", True),
                ("maximum", "lt", False),
            ):
                if (value := getattr(constraint, attribute, None)) is not None:
                    bounds[side] = (value, inclusive)
        yield Key(
            f"{prefix}{name}",
            typing.cast(type, annotation),
            field.get_default(),
            field.description or "",
            choices,
            **bounds,
        )


def build(schema: type[SectionType], values: Mapping[str, Any], source: str) -> SectionType:
    """Validate nested or dotted values against a schema.

    Args:
        schema: the section class.
        values: key to value; keys may be dotted, values may be nested mappings.
        source: what to name in an error, such as a file.

    Raises:
        InputError: an unknown key or a value out of its bounds, named with what would be right.
    """
    nested: dict[str, Any] = {}
    for name, value in _flatten(values):
        *groups, leaf = name.split(".")
        level = nested
        for group in groups:
            level = level.setdefault(group, {})
            if not isinstance(level, dict):
                raise InputError(f"{source}: {name}: {group} has a value already and takes no keys")
        level[leaf] = value
    try:
        return schema.model_validate(nested)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(key.name for key in keys(schema))
            raise InputError(f"{source}: {name} is not a known key; known: {known}") from None
        raise InputError(
            f"{source}: {name} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
        ) from None


def load(
    schema: type[SectionType], path: Path | None = None, assignments: Iterable[str] = ()
) -> SectionType:
    """Read a configuration: defaults, then a YAML file, then `key=value` assignments.

    Raises:
        InputError: the file cannot be read, or any key or value in it is wrong.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: not a readable YAML file: {reason}") from None
        if not isinstance(content, dict | None):
            raise InputError(f"{path}: must hold 'key: value' lines at its top")
        build(schema, content or {}, str(path))
        values.update(_flatten(content or {}))
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: expected key=value")
        try:
            values[name.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"--set {assignment}: {text!r} is not a value") from None
    return build(schema, values, "--set" if assignments else str(path or "configuration"))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value

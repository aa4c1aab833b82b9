"""References that see the same surface must agree on it: depths are fused across views.

The matcher's keypoints of a reference are found again in its neighbours, whose poses are known.
Each match measures the depth on the keypoint's own ray; what several views and the depth lifted
from the reference's own SfM points agree on replaces the latter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.alignment import Aligner
from deviloc_ros.localization.lifting import (
    DEPTH_TOLERANCE,
    INFERRED_SIGMA,
    USUAL_OBSERVED_SIGMA,
    confidence_of,
    sigma_of,
)
from deviloc_ros.mapping.corrections import Calibration
from deviloc_ros.mapping.epipolar_bias import estimate_bias
from deviloc_ros.mapping.fusion import Measurements, fuse
from deviloc_ros.mapping.map import Map
from deviloc_ros.mapping.neighbours import Neighbourhood
from deviloc_ros.mapping.pose_check import share_on_epipolar_lines
from deviloc_ros.mapping.repeatability import not_found_again
from deviloc_ros.mapping.view_depths import ViewDepths
from deviloc_ros.mapping.view_matching import SeenAgain, ViewMatcher, ViewMatches

# References that the bias of offsets and the noise of the SfM points are measured on.
SAMPLED_REFERENCES = 30
# Bounds on the relative standard deviation of the depth of observed SfM points, and how many
# features it takes to tell.
OBSERVED_SIGMA = (0.001, 0.1)
MIN_COMPARED = 200
# How often a depth is right that so many other views agree on (0, 1, 2, more).
TRUST = np.array([0.0, 0.8, 0.95, 1.0])


def make_consistent(
    reference_map: Map, config: LocalizerConfig, match: ViewMatches | None = None
) -> Map:
    """Return the map with depths fused across references.

    Features that a neighbour sees again get the fused depth, and as confidence the probability that
    it is right to within DEPTH_TOLERANCE. A feature at an SfM point keeps 1 unless the other views
    contradict that point. Any other feature that lies in the view of a neighbour, but that none
    finds again there, is not likely to be found in a query: its confidence becomes 0. Features that
    lie in nobody's view keep what was lifted. The map's offset bias is set to what epipolar lines
    say of it.

    Args:
        reference_map: lifted, not calibrated.
        config: `lifting.neighbours` of each reference are matched with it.
        match: finds a reference's features again; made here unless given. It does not depend on
            3D points, so that maps of the same images may share one.
    """
    neighbourhood = Neighbourhood(reference_map)
    match = match or ViewMatcher(reference_map, config)
    count = len(reference_map.references)
    neighbours = [neighbourhood.of(i, config.lifting.neighbours) for i in range(count)]
    sample = np.unique(np.linspace(0, count - 1, min(count, SAMPLED_REFERENCES)).astype(np.int64))
    seen: dict[int, list[SeenAgain]] = {}
    for i in tqdm(sample, desc="matching references", unit="image", disable=None):
        seen[int(i)] = match(int(i), neighbours[i])
    bias = estimate_bias(reference_map, seen)
    epipolar_share = share_on_epipolar_lines(reference_map, seen, bias)
    aligns = config.alignment.enabled and reference_map.alignable
    aligner = Aligner(reference_map, config) if aligns else None
    measure = ViewDepths(reference_map, bias, aligner, seen)
    observed_sigma = _observed_sigma(reference_map, seen, measure)
    points = np.array(reference_map.feature_points)
    confidence = np.array(reference_map.confidence)
    depth_sigma = np.empty(len(confidence), dtype=np.float16)
    supported = 0
    for i in tqdm(range(count), desc="fusing depths", unit="image", disable=None):
        found = seen.pop(i) if i in seen else match(i, neighbours[i])
        rows = reference_map.features_of(i)
        points[rows], confidence[rows], depth_sigma[rows], support = _fused(
            reference_map, i, measure(i, found), observed_sigma
        )
        missed = not_found_again(reference_map, i, neighbours[i], support, confidence[rows])
        confidence[rows][missed] = 0.0
        supported += int(np.count_nonzero(support))
    return replace(
        reference_map,
        feature_points=points,
        confidence=confidence,
        depth_sigma=depth_sigma,
        calibration=Calibration(bias.constant, offset_pull=bias.pull),
    ).with_meta(
        {
            "consistent_share": supported / max(1, len(points)),
            "observed_depth_sigma": observed_sigma,
            "epipolar_share": epipolar_share,
            "epipolar_sigma_px": measure.line_sigma if aligns else None,
        }
    )


def _observed_sigma(
    reference_map: Map, seen: Mapping[int, Sequence[SeenAgain]], measure: ViewDepths
) -> float:
    """Return how far the depths of SfM points are off, relative, by what other views say."""
    differences = []
    for i, found in seen.items():
        parts = measure(i, found)
        if not parts:
            continue
        inverse_depth, observed = _lifted_inverse_depth(reference_map, i)
        fused = fuse(Measurements.joined(parts), len(inverse_depth))
        with np.errstate(invalid="ignore"):
            relative_sigma = fused.sigma / fused.inverse_depth
            certain = observed & (fused.support > 1) & (relative_sigma < DEPTH_TOLERANCE / 2)
        differences.append((inverse_depth / fused.inverse_depth - 1.0)[certain])
    joined = np.concatenate([np.zeros(0), *differences])
    if len(joined) < MIN_COMPARED:
        return USUAL_OBSERVED_SIGMA
    # Median absolute deviation, as a normal distribution's standard deviation.
    return float(np.clip(1.4826 * np.median(np.abs(joined)), *OBSERVED_SIGMA))


def _lifted_inverse_depth(
    reference_map: Map, index: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the inverse depths that lifting gave, NaN where none, and which are observed."""
    rows = reference_map.features_of(index)
    points = np.asarray(reference_map.feature_points[rows], dtype=np.float64)
    pose = reference_map.references[index].camera_from_map
    depth = pose.apply(points + reference_map.origin)[:, 2]
    with np.errstate(invalid="ignore"):
        inverse = np.where(depth > 0, 1.0 / depth, np.nan)
    return inverse, np.asarray(reference_map.confidence[rows] == 1.0)


def _fused(
    reference_map: Map, index: int, parts: list[Measurements], observed_sigma: float
) -> tuple[NDArray[np.float32], NDArray[np.float16], NDArray[np.float16], NDArray[np.int64]]:
    """Return points relative to the origin (N, 3), confidences, sigmas of depths, support (N,)."""
    rows = reference_map.features_of(index)
    lifted, observed = _lifted_inverse_depth(reference_map, index)
    stored = np.asarray(reference_map.confidence[rows], dtype=np.float64)
    known = np.flatnonzero(np.isfinite(lifted) & (stored > 0))
    relative = np.where(observed, observed_sigma, np.maximum(sigma_of(stored), INFERRED_SIGMA))
    own = Measurements(
        known, lifted[known], (relative * lifted)[known], np.zeros(len(known), dtype=np.bool_)
    )
    fused = fuse(Measurements.joined([own, *parts]), len(lifted))
    supported = fused.support > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        agrees = np.abs(fused.inverse_depth - lifted) < 3 * observed_sigma * lifted
        fused_sigma = fused.sigma / fused.inverse_depth
        likely = confidence_of(fused_sigma)
    likely = likely * TRUST[np.minimum(fused.support, len(TRUST) - 1)]
    # 1 says "observed": an inferred depth must not reach it in the map's float16.
    likely = np.where(observed & agrees, 1.0, np.minimum(likely, 0.999))
    reference = reference_map.references[index]
    keypoints = np.asarray(reference_map.keypoints[rows], dtype=np.float64)
    in_camera = reference.camera.rays(keypoints) / fused.inverse_depth[:, None]
    points = reference.camera_from_map.inverse().apply(in_camera) - reference_map.origin
    points = np.where(supported[:, None], points, reference_map.feature_points[rows])
    confidence = np.where(supported, likely, stored)
    # What one other view says shares that view's error of pose with all that it says alone.
    confirmed = (fused.support > 1) | (observed & agrees)
    sigma = np.where(confirmed, fused_sigma, np.maximum(fused_sigma, INFERRED_SIGMA))
    sigma = np.where(supported, sigma, np.where(stored > 0, relative, np.nan))
    return (
        points.astype(np.float32), confidence.astype(np.float16), sigma.astype(np.float16),
        fused.support,
    )  # fmt: skip

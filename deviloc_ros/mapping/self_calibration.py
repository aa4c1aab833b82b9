"""What a map learns from localizing its own images, whose poses it knows.

XFeat*'s fine offsets are biased by an amount that depends on the scale they are computed at, and
the errors of neighbouring matches are not independent, so that a covariance from their number alone
is too small. Both show where a reference is matched with its neighbours as if it were a query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.cluster.workers import THIS_PROCESS, Workers
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.features import LEVELS
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import Features, Query
from deviloc_ros.mapping.covariance_calibration import covariance_scale, shared_error
from deviloc_ros.mapping.multiview.leave_one_out import LeftOut
from deviloc_ros.mapping.multiview.matching import reference_features
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map

MAX_QUERIES = 40
# Matcher topicfm takes seconds a reference. Of chi-squared errors with 3 degrees of freedom, the
# mean over 20 images is known to 18 %, over 40 to 13 %; as a factor on deviations half of that.
MAX_TOPICFM_QUERIES = 20
# The bias of offsets is a median over thousands of matches an image.
MAX_BIAS_QUERIES = 12
MAX_NEIGHBOURS = 5
MIN_SHARED_POINTS = 30
# Residuals beyond this are wrong matches, not bias; network pixels.
GATE = 6.0
MIN_RESIDUALS = 200


def calibration_queries(reference_map: Map) -> NDArray[np.int64]:
    """Return the images of a map that it is calibrated with."""
    return spread(len(reference_map.references), MAX_QUERIES)


def calibrate(
    reference_map: Map,
    config: LocalizerConfig,
    lifted_alone: Map | None = None,
    left_out: LeftOut | None = None,
    workers: Workers = THIS_PROCESS,
) -> Map:
    """Return the map with its offset bias and covariance scale measured.

    The bias is that of matcher xfeat, which every map can be used with; so is a scale, and an
    error that aligned matches share. A map for matcher topicfm has another scale for that. Where
    too few references see each other the bias stays what it was, the scale one, and that error
    what it usually is; `meta` tells on how many matches and poses they rest.

    Args:
        reference_map: the map.
        config: the localizer it is for.
        lifted_alone: the map before its references were made to agree on depths, if they were. An
            image has a part in those depths, so that localizing it would flatter them.
        left_out: the depths without each of `calibration_queries`, if references were made to
            agree.
        workers: who localizes.
    """
    config = _without_factor(config)
    xfeat = plain_xfeat(config)
    queries = calibration_queries(reference_map)
    # What is left of the bias that the map has already (mapping/multiview/epipolar.py).
    some = queries[spread(len(queries), MAX_BIAS_QUERIES)]
    left, num_residuals = _offset_bias(reference_map, some, xfeat, workers)
    pull = reference_map.calibration.offset_pull
    unbiased = Calibration(reference_map.calibration.offset_bias + left, offset_pull=pull)
    unscaled = reference_map.with_calibration(unbiased)
    independent = (lifted_alone or reference_map).with_calibration(unbiased)
    plain = aligning(xfeat, False)
    scale, num_poses = covariance_scale(independent, queries, plain, workers)
    calibration = replace(unbiased, covariance_scale=scale)
    evidence = {"calibration_matches": num_residuals, "calibration_poses": num_poses}
    if reference_map.alignable:
        shared, num_poses = shared_error(
            unscaled, queries, aligning(xfeat, True), left_out or LeftOut(), workers
        )
        calibration = replace(calibration, aligned_shared_error=shared)
        evidence["aligned_calibration_poses"] = num_poses
    if config.matching.matcher == "topicfm":
        queries = spread(len(reference_map.references), MAX_TOPICFM_QUERIES)
        scale, num_poses = covariance_scale(unscaled, queries, config, workers)
        calibration = replace(calibration, topicfm_covariance_scale=scale)
        evidence["topicfm_calibration_poses"] = num_poses
    return unscaled.with_calibration(calibration).with_meta(evidence)


def plain_xfeat(config: LocalizerConfig) -> LocalizerConfig:
    """Return the configuration that a map is calibrated with: nearest neighbours alone."""
    matching = config.matching.model_copy(update={"matcher": "xfeat", "context": "never"})
    return _without_factor(config).model_copy(update={"matching": matching})


def _without_factor(config: LocalizerConfig) -> LocalizerConfig:
    """Return the configuration without the user's factor on covariances.

    It is for robots in another light, not for the map's own images.
    """
    pose = config.pose.model_copy(update={"covariance_factor": 1.0})
    return config.model_copy(update={"pose": pose})


def aligning(config: LocalizerConfig, enabled: bool) -> LocalizerConfig:
    """Return the configuration with or without alignment of matches."""
    alignment = config.alignment.model_copy(update={"enabled": enabled})
    return config.model_copy(update={"alignment": alignment})


def spread(count: int, limit: int) -> NDArray[np.int64]:
    """Return at most `limit` of `count` references, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))


def _offset_bias(
    reference_map: Map, queries: NDArray[np.int64], config: LocalizerConfig, workers: Workers
) -> tuple[NDArray[np.float64], int]:
    """Return the median residual of refined keypoints per level (levels, 2), and their number."""
    images = [int(query) for query in queries]
    found = list(workers.map(OffsetResiduals(reference_map, config), images, "offset bias"))
    bias = np.zeros((len(LEVELS), 2))
    total = 0
    for level in range(len(LEVELS)):
        joined = np.concatenate([np.zeros((0, 2)), *(parts[level] for parts in found if parts)])
        total += len(joined)
        if len(joined) >= MIN_RESIDUALS:
            bias[level] = np.median(joined, axis=0)
    return bias, total


@dataclass(frozen=True)
class OffsetResiduals:
    """Makes what measures how far an image's keypoints are from where points are seen.

    Of each level (N, 2), network pixels; nothing of an image that shares too little with others.
    """

    reference_map: Map
    config: LocalizerConfig

    def __call__(self) -> Callable[[int], list[NDArray[np.float64]]]:
        """Load the networks."""
        localizer = Localizer(self.reference_map, self.config)
        return lambda query: _residuals(localizer, query, self.config)


def _residuals(
    localizer: Localizer, query: int, config: LocalizerConfig
) -> list[NDArray[np.float64]]:
    reference_map = localizer.map
    shared = reference_map.shared_points_with(query)
    shared[query] = 0
    neighbours = np.argsort(-shared, kind="stable")[:MAX_NEIGHBOURS]
    neighbours = neighbours[shared[neighbours] >= MIN_SHARED_POINTS]
    if not len(neighbours):
        return []
    features = reference_features(reference_map, query, config, localizer.device)
    reference = reference_map.references[query]
    residuals = []
    for level in range(len(LEVELS)):
        kept = features.levels == level
        part = Features(*(getattr(features, name)[kept] for name in Features.__annotations__))
        matches = localizer.match_and_lift(Query(part, reference.camera, None), neighbours)
        matches = matches.select(matches.confidence == 1.0)
        projected = reference.camera.project(reference.camera_from_map.apply(matches.points3d))
        residual = (matches.keypoints - projected) / float(part.scales[0])
        sound = np.abs(np.nan_to_num(residual, nan=np.inf)).max(axis=1, initial=0.0) < GATE
        residuals.append(residual[sound])
    return residuals

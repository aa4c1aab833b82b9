"""What a map learns from localizing its own images, whose poses it knows.

XFeat*'s fine offsets are biased by an amount that depends on the scale they are computed at, and
the errors of neighbouring matches are not independent, so that a covariance from their number alone
is too small. Both show where a reference is matched with its neighbours as if it were a query.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2
from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.uncertainty import (
    DEGREES_OF_FREEDOM,
    normalised_squared_errors,
    pose_error,
)
from deviloc_ros.localization.features import LEVELS, network_sizes
from deviloc_ros.localization.interface import Localizer
from deviloc_ros.localization.types import Features, PoseEstimate, Query
from deviloc_ros.mapping.corrections import USUAL_SHARED_ERROR, Calibration
from deviloc_ros.mapping.map import Map

MAX_QUERIES = 40
# Matcher topicfm takes seconds a reference. Of chi-squared errors with 3 degrees of freedom, the
# mean over 20 images is known to 18 %, over 40 to 13 %; as a factor on deviations half of that.
MAX_TOPICFM_QUERIES = 20
MAX_NEIGHBOURS = 5
MIN_SHARED_POINTS = 30
# Residuals beyond this are wrong matches, not bias; network pixels.
GATE = 6.0
MIN_RESIDUALS = 200
MIN_POSES = 5
# At most one in so many images of a map is left out with the one that is localized.
LEFT_OUT_SHARE = 6
COUNTED_SHARE = 0.95
SCALE_ITERATIONS = 50
# Bounds on the error that aligned matches share, pixels of the working size.
SHARED_ERROR = (0.01, 2.0)
TRIED_ERROR = 0.1


def calibrate(reference_map: Map, config: LocalizerConfig, lifted_alone: Map | None = None) -> Map:
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
    """
    # The user's factor is for robots in another light, not for the map's own images.
    plain_pose = config.pose.model_copy(update={"covariance_factor": 1.0})
    config = config.model_copy(update={"pose": plain_pose})
    xfeat = config.model_copy(
        update={"matching": config.matching.model_copy(update={"matcher": "xfeat"})}
    )
    queries = _spread(len(reference_map.references), MAX_QUERIES)
    # What is left of the bias that the map has already (mapping/epipolar_bias.py).
    left, num_residuals = _offset_bias(Localizer(reference_map, xfeat), queries, xfeat)
    pull = reference_map.calibration.offset_pull
    unbiased = Calibration(reference_map.calibration.offset_bias + left, offset_pull=pull)
    unscaled = reference_map.with_calibration(unbiased)
    independent = (lifted_alone or reference_map).with_calibration(unbiased)
    plain = _aligning(xfeat, False)
    scale, num_poses = _covariance_scale(Localizer(independent, plain), queries, plain)
    calibration = replace(unbiased, covariance_scale=scale)
    evidence = {"calibration_matches": num_residuals, "calibration_poses": num_poses}
    if reference_map.alignable:
        shared, num_poses = _shared_error(unscaled, queries, _aligning(xfeat, True))
        calibration = replace(calibration, aligned_shared_error=shared)
        evidence["aligned_calibration_poses"] = num_poses
    if config.matching.matcher == "topicfm":
        queries = _spread(len(reference_map.references), MAX_TOPICFM_QUERIES)
        scale, num_poses = _covariance_scale(Localizer(unscaled, config), queries, config)
        calibration = replace(calibration, topicfm_covariance_scale=scale)
        evidence["topicfm_calibration_poses"] = num_poses
    return unscaled.with_calibration(calibration).with_meta(evidence)


def _aligning(config: LocalizerConfig, enabled: bool) -> LocalizerConfig:
    """Return the configuration with or without alignment of matches."""
    alignment = config.alignment.model_copy(update={"enabled": enabled})
    return config.model_copy(update={"alignment": alignment})


def reference_features(
    reference_map: Map, index: int, config: LocalizerConfig, device: torch.device
) -> Features:
    """Return a reference's stored features, as if it were a query."""
    stored = reference_map.features_of(index)
    camera = reference_map.references[index].camera
    sizes = network_sizes(camera.width, camera.height, config.features.max_size)
    scales = torch.tensor(
        [(camera.width / width + camera.height / height) / 2 for width, height in sizes]
    )
    levels = torch.from_numpy(np.array(reference_map.levels[stored]))
    return Features(
        keypoints=torch.from_numpy(np.array(reference_map.keypoints[stored])).to(device),
        descriptors=torch.from_numpy(np.array(reference_map.descriptors[stored]))
        .to(device)
        .float(),
        scales=scales[levels.long()].to(device),
        levels=levels.to(device),
    )


def _spread(count: int, limit: int) -> NDArray[np.int64]:
    """Return at most `limit` of `count` references, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))


def _offset_bias(
    localizer: Localizer, queries: NDArray[np.int64], config: LocalizerConfig
) -> tuple[NDArray[np.float64], int]:
    """Return the median residual of refined keypoints per level (levels, 2), and their number."""
    reference_map = localizer.map
    residuals: list[list[NDArray[np.float64]]] = [[] for _ in LEVELS]
    for query in tqdm(queries, desc="offset bias", unit="image", disable=None):
        shared = reference_map.shared_points_with(int(query))
        shared[query] = 0
        neighbours = np.argsort(-shared, kind="stable")[:MAX_NEIGHBOURS]
        neighbours = neighbours[shared[neighbours] >= MIN_SHARED_POINTS]
        if not len(neighbours):
            continue
        features = reference_features(reference_map, int(query), config, localizer.device)
        for level in range(len(LEVELS)):
            kept = features.levels == level
            part = Features(*(getattr(features, name)[kept] for name in Features.__annotations__))
            reference = reference_map.references[query]
            matches = localizer.match_and_lift(Query(part, reference.camera, None), neighbours)
            matches = matches.select(matches.confidence == 1.0)
            projected = reference.camera.project(reference.camera_from_map.apply(matches.points3d))
            residual = (matches.keypoints - projected) / float(part.scales[0])
            sound = np.abs(np.nan_to_num(residual, nan=np.inf)).max(axis=1, initial=0.0) < GATE
            residuals[level].append(residual[sound])
    bias = np.zeros((len(LEVELS), 2))
    total = 0
    for level, parts in enumerate(residuals):
        joined = np.concatenate([np.zeros((0, 2)), *parts])
        total += len(joined)
        if len(joined) >= MIN_RESIDUALS:
            bias[level] = np.median(joined, axis=0)
    return bias, total


def _covariance_scale(
    localizer: Localizer, queries: NDArray[np.int64], config: LocalizerConfig
) -> tuple[float, int]:
    """Return the factor on the covariance, and how many poses it rests on.

    One factor for position and rotation, for it has one cause: errors that matches share, from
    which both come. How they divide between the two depends on the direction in which the map's
    images see the place from one another, and a robot's need not be that.
    """
    found = _errors(localizer, queries, config)
    normalised = [
        squared
        for error, covariance in found.values()
        for squared in normalised_squared_errors(error, covariance)
    ]
    if len(found) < MIN_POSES:
        return 1.0, len(found)
    return max(_scale_of(np.array(normalised)), 1.0), len(found)


def _shared_error(
    reference_map: Map, queries: NDArray[np.int64], config: LocalizerConfig
) -> tuple[float, int]:
    """Return the error that aligned matches share, pixels, and how many poses it rests on.

    It is what the covariances of the map's own images need for their errors to be as large as they
    say; the jackknife's part stays as it is. That an image has had a part in the depths of others
    matters little here: it is poses and lenses that such errors come from.
    """
    without, within = (
        _errors(Localizer(reference_map.with_calibration(calibration), config), queries, config)
        for calibration in (
            replace(reference_map.calibration, aligned_shared_error=shared)
            for shared in (0.0, TRIED_ERROR)
        )
    )
    # Poses do not depend on it, and covariances on its square.
    poses = [
        (error, own, (within[query][1] - own) / TRIED_ERROR**2)
        for query, (error, own) in without.items()
        if query in within
    ]
    if len(poses) < MIN_POSES:
        return USUAL_SHARED_ERROR, len(poses)

    def excess(log_error: float) -> float:
        shared = np.exp(2 * log_error)
        normalised = [
            squared
            for error, own, unit in poses
            for squared in normalised_squared_errors(error, own + shared * unit)
        ]
        return _scale_of(np.array(normalised)) - 1.0

    low, high = np.log(SHARED_ERROR)
    if excess(low) <= 0:
        return SHARED_ERROR[0], len(poses)
    if excess(high) >= 0:
        return SHARED_ERROR[1], len(poses)
    return float(np.exp(brentq(excess, low, high, xtol=0.01))), len(poses)


def _errors(
    localizer: Localizer, queries: NDArray[np.int64], config: LocalizerConfig
) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Localize images of the map without themselves; return errors (6,) and covariances (6, 6)."""
    found = {}
    for query in tqdm(queries, desc="covariance", unit="image", disable=None):
        features = reference_features(localizer.map, int(query), config, localizer.device)
        truth = localizer.map.references[query]
        has_image = localizer.map.image_bytes is not None
        image = localizer.map.image_of(int(query)) if has_image else None
        as_query = Query(features, truth.camera, image)
        excluded = _with_neighbours(localizer.map, int(query), config.retrieval.num_references)
        result = localizer.localize_query(as_query, excluded=excluded)
        if isinstance(result, PoseEstimate):
            error = pose_error(result.map_from_camera, truth.camera_from_map.inverse())
            found[int(query)] = error, result.covariance
    return found


def _with_neighbours(reference_map: Map, query: int, count: int) -> NDArray[np.int64]:
    """Return an image and those it shares most points with, `count` in all.

    A robot does not go where the map's images were taken: against the nearest of them, an image
    would be localized from closer by, and better, than a robot is. Of a small map enough is left.
    """
    shared = reference_map.shared_points_with(query)
    shared[query] = np.iinfo(shared.dtype).max
    limit = 1 + len(shared) // LEFT_OUT_SHARE
    return np.argsort(-shared, kind="stable")[: min(count, limit)].astype(np.int64)


def _scale_of(normalised: NDArray[np.float64]) -> float:
    """Return the factor on the covariance by which squared errors become chi-squared on average.

    Of errors beyond the 95 % ellipsoid only so much counts: a few wrong poses must not make all
    others look uncertain (Huber's "proposal 2", "Robust Statistics", 2009, section 6.4).
    """
    limit = chi2.ppf(COUNTED_SHARE, DEGREES_OF_FREEDOM)
    expected = DEGREES_OF_FREEDOM * chi2.cdf(limit, DEGREES_OF_FREEDOM + 2)
    expected += limit * (1 - COUNTED_SHARE)
    scale = np.median(normalised) / chi2.median(DEGREES_OF_FREEDOM)
    for _ in range(SCALE_ITERATIONS):
        scale = np.minimum(normalised, scale * limit).mean() / expected
    return float(scale)

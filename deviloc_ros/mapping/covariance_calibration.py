"""How uncertain poses in a map are: by localizing its own images, whose poses it knows.

The errors of neighbouring matches are not independent, and some errors are shared by all matches of
an image or of a part of it, so that a covariance from residuals alone is too small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
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
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import PoseEstimate, Query
from deviloc_ros.mapping.multiview.leave_one_out import LeftOut
from deviloc_ros.mapping.multiview.matching import reference_features
from deviloc_ros.maps.calibration import USUAL_SHARED_ERROR
from deviloc_ros.maps.map import Map

MIN_POSES = 5
# At most one in so many images of a map is left out with the one that is localized.
LEFT_OUT_SHARE = 6
COUNTED_SHARE = 0.95
SCALE_ITERATIONS = 50
# Bounds on the error that aligned matches share, pixels of the working size.
SHARED_ERROR = (0.01, 2.0)


def covariance_scale(
    localizer: Localizer, queries: NDArray[np.int64], config: LocalizerConfig
) -> tuple[float, int]:
    """Return the factor on the covariance, and how many poses it rests on.

    One factor for position and rotation, for it has one cause: errors that matches share, from
    which both come. How they divide between the two depends on the direction in which the map's
    images see the place from one another, and a robot's need not be that.
    """
    found = []
    for query in _progress(queries):
        result = localize_own(localizer, query, config)
        if result is not None:
            found.append((error_of_own(result, localizer.map, query), result.covariance))
    if len(found) < MIN_POSES:
        return 1.0, len(found)
    normalised = [
        squared
        for error, covariance in found
        for squared in normalised_squared_errors(error, covariance)
    ]
    return max(_scale_of(np.array(normalised)), 1.0), len(found)


def shared_error(
    reference_map: Map, queries: NDArray[np.int64], config: LocalizerConfig, left_out: LeftOut
) -> tuple[float, int]:
    """Return the error that aligned matches share, pixels, and how many poses it rests on.

    It is what the covariances of the map's own images need for their errors to be as large as they
    say; the jackknife's part stays as it is. By the median of the errors: images whose given poses
    are wrong must not make all others look uncertain, as long as they are fewer than half.
    """
    poses = []
    unshared = replace(reference_map.calibration, aligned_shared_error=0.0)
    for query, without in left_out.maps(reference_map, _progress(queries)):
        localizer = Localizer(without.with_calibration(unshared), config)
        result = localize_own(localizer, query, config)
        if result is not None and result.alignment is not None:
            unit = result.alignment.of_shared_error
            poses.append((error_of_own(result, without, query), result.covariance, unit))
    if len(poses) < MIN_POSES:
        return USUAL_SHARED_ERROR, len(poses)

    def excess(log_error: float) -> float:
        shared = np.exp(2 * log_error)
        normalised = [
            squared
            for error, own, unit in poses
            for squared in normalised_squared_errors(error, own + shared * unit)
        ]
        return float(np.median(normalised)) / float(chi2.median(DEGREES_OF_FREEDOM)) - 1.0

    low, high = np.log(SHARED_ERROR)
    if excess(low) <= 0:
        return SHARED_ERROR[0], len(poses)
    if excess(high) >= 0:
        return SHARED_ERROR[1], len(poses)
    return float(np.exp(brentq(excess, low, high, xtol=0.01))), len(poses)


def _progress(queries: NDArray[np.int64]) -> Iterator[int]:
    yield from tqdm(
        [int(query) for query in queries], desc="covariance", unit="image", disable=None
    )


def error_of_own(estimate: PoseEstimate, reference_map: Map, query: int) -> NDArray[np.float64]:
    """Return the error (6,) of an image's estimated pose."""
    map_from_camera = reference_map.references[query].camera_from_map.inverse()
    return pose_error(estimate.map_from_camera, map_from_camera)


def localize_own(
    localizer: Localizer,
    query: int,
    config: LocalizerConfig,
    excluded: NDArray[np.int64] | None = None,
) -> PoseEstimate | None:
    """Localize an image of the map without itself, or None where that fails.

    Args:
        localizer: with the map.
        query: index of the image.
        config: of the localizer.
        excluded: references that are not used; None: the image and those most like it, for a robot
            does not go where they were taken.
    """
    features = reference_features(localizer.map, query, config, localizer.device)
    camera = localizer.map.references[query].camera
    has_image = localizer.map.image_bytes is not None
    image = localizer.map.image_of(query) if has_image else None
    as_query = Query(features, camera, image)
    if excluded is None:
        excluded = with_neighbours(localizer.map, query, config.retrieval.num_references)
    result = localizer.localize_query(as_query, excluded=excluded)
    return result if isinstance(result, PoseEstimate) else None


def with_neighbours(reference_map: Map, query: int, count: int) -> NDArray[np.int64]:
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

"""How uncertain poses in a map are: by localizing its own images, whose poses it knows.

The errors of neighbouring matches are not independent, and some errors are shared by all matches of
an image or of a part of it, so that a covariance from residuals alone is too small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2

from deviloc_ros.cluster.workers import THIS_PROCESS, Workers
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.uncertainty import (
    DEGREES_OF_FREEDOM,
    normalised_squared_errors,
    pose_error,
)
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import PoseEstimate, Query
from deviloc_ros.mapping.multiview.depth_fusion import FusedDepths
from deviloc_ros.mapping.multiview.leave_one_out import EditableMap, LeftOut
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
    reference_map: Map,
    queries: NDArray[np.int64],
    config: LocalizerConfig,
    workers: Workers = THIS_PROCESS,
) -> tuple[float, int]:
    """Return the factor on the covariance, and how many poses it rests on.

    One factor for position and rotation, for it has one cause: errors that matches share, from
    which both come. How they divide between the two depends on the direction in which the map's
    images see the place from one another, and a robot's need not be that.
    """
    images = [int(query) for query in queries]
    results = workers.map(LocalizeOwn(reference_map, config), images, "covariance")
    found = [item for item in results if item is not None]
    if len(found) < MIN_POSES:
        return 1.0, len(found)
    normalised = [
        squared
        for item in found
        for squared in normalised_squared_errors(item.error, item.covariance)
    ]
    return max(_scale_of(np.array(normalised)), 1.0), len(found)


def shared_error(
    reference_map: Map,
    queries: NDArray[np.int64],
    config: LocalizerConfig,
    left_out: LeftOut,
    workers: Workers = THIS_PROCESS,
) -> tuple[float, int]:
    """Return the error that aligned matches share, pixels, and how many poses it rests on.

    It is what the covariances of the map's own images need for their errors to be as large as they
    say; the jackknife's part stays as it is. By the median of the errors: images whose given poses
    are wrong must not make all others look uncertain, as long as they are fewer than half.
    """
    unshared = replace(reference_map.calibration, aligned_shared_error=0.0)
    localize = LocalizeLeftOut(reference_map.with_calibration(unshared), config)
    images = [(int(query), left_out.of(query)) for query in queries]
    results = workers.map(localize, images, "covariance")
    poses = [
        (item.error, item.covariance, item.of_shared_error)
        for item in results
        if item is not None and item.of_shared_error is not None
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
        return float(np.median(normalised)) / float(chi2.median(DEGREES_OF_FREEDOM)) - 1.0

    low, high = np.log(SHARED_ERROR)
    if excess(low) <= 0:
        return SHARED_ERROR[0], len(poses)
    if excess(high) >= 0:
        return SHARED_ERROR[1], len(poses)
    return float(np.exp(brentq(excess, low, high, xtol=0.01))), len(poses)


@dataclass(frozen=True)
class OwnPose:
    """An image of the map that was localized in it.

    Attributes:
        error: (6,), see `error_of_own`.
        covariance: (6, 6) that was said.
        of_shared_error: (6, 6), see `AlignmentEvidence`; None where matches were not aligned.
    """

    error: NDArray[np.float64]
    covariance: NDArray[np.float64]
    of_shared_error: NDArray[np.float64] | None


@dataclass(frozen=True)
class LocalizeOwn:
    """Makes what localizes images of the map by their index; None where that fails."""

    reference_map: Map
    config: LocalizerConfig

    def __call__(self) -> Callable[[int], OwnPose | None]:
        """Load the networks."""
        localizer = Localizer(self.reference_map, self.config)
        return lambda query: _own_pose(localizer, query, self.config)


@dataclass(frozen=True)
class LocalizeLeftOut:
    """The same in the map without what the image says of depths of others (by their index)."""

    reference_map: Map
    config: LocalizerConfig

    def __call__(self) -> Callable[[tuple[int, Mapping[int, FusedDepths]]], OwnPose | None]:
        """Make a map that can be edited."""
        editable = EditableMap(self.reference_map)

        def localize(item: tuple[int, Mapping[int, FusedDepths]]) -> OwnPose | None:
            query, depths = item
            with editable.with_depths(depths) as without:
                # One of its own for each: localizers keep what they know of references.
                return _own_pose(Localizer(without, self.config), query, self.config)

        return localize


def _own_pose(localizer: Localizer, query: int, config: LocalizerConfig) -> OwnPose | None:
    result = localize_own(localizer, query, config)
    if result is None:
        return None
    return OwnPose(
        error_of_own(result, localizer.map, query),
        result.covariance,
        None if result.alignment is None else result.alignment.of_shared_error,
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

"""The transform between two frames, from images whose poses are known in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.similarity_fit import UnderdeterminedError, extents, fit_cameras
from deviloc_ros.geometry.transform import Transform

MIN_IMAGES = 3
# At least this share of the images has to agree on the transform.
MIN_AGREEING = 0.5
# Images that do not show the same place leave larger residuals: degrees, and a share of how far the
# images are spread.
MAX_TURN = 2.0
MAX_SPREAD_SHARE = 0.3
# One frame where the fitted transform leaves residuals at least this share of those without it.
SAME_FRAME_GAIN = 0.7


@dataclass(frozen=True)
class InBoth:
    """An image whose pose is known in two frames.

    Attributes:
        source: camera_from_source.
        target: camera_from_target.
        sigma: how uncertain its position is in the frame that it was localized in. An image that
            sees the other map from afar weighs little.
    """

    source: Transform
    target: Transform
    sigma: float


@dataclass(frozen=True)
class FrameFit:
    """How two frames lie to each other.

    Attributes:
        target_from_source: the transform; the identity where both are one frame.
        same_frame: whether they are.
        num_images: how many images it rests on.
        num_agreeing: how many of them agree with it.
        position_residual: weighted median distance of the images that agree, target units.
        rotation_residual: the same of their orientations, degrees.
    """

    target_from_source: Similarity
    same_frame: bool
    num_images: int
    num_agreeing: int
    position_residual: float
    rotation_residual: float


def fit_frames(
    images: Sequence[InBoth], fixed_scale: bool, what: str, given_same: bool = False
) -> FrameFit:
    """Find target_from_source, and whether it is the identity within what localization tells.

    Args:
        images: with poses in both.
        fixed_scale: both frames are metric.
        what: names the images, for errors.
        given_same: both are one frame, whatever localization says: it may be biased as a whole.

    Raises:
        NothingFoundError: too few images, or they do not agree on one transform.
    """
    if len(images) < MIN_IMAGES:
        raise NothingFoundError(
            f"{what}: {len(images)} of its images can be localized, at least {MIN_IMAGES} are "
            "needed to find its frame; do both show the same place?"
        )
    try:
        fit = fit_cameras(
            [image.source for image in images],
            [image.target for image in images],
            fixed_scale,
            sigmas=np.array([image.sigma for image in images]),
        )
    except UnderdeterminedError as error:
        raise NothingFoundError(f"{what}: its frame cannot be found: {error}") from None
    agreeing = int(np.count_nonzero(fit.inliers))
    chosen = [image for image, kept in zip(images, fit.inliers, strict=True) if kept]
    fitted = residuals(chosen, fit.target_from_source)
    centres = np.array([image.target.inverse().translation for image in chosen])
    if (
        agreeing < max(MIN_IMAGES, MIN_AGREEING * len(images))
        or fitted[0] > MAX_SPREAD_SHARE * extents(centres)[0]
        or fitted[1] > MAX_TURN
    ):
        raise NothingFoundError(
            f"{what}: the {len(images)} images that can be localized do not agree on a frame: "
            f"{agreeing} of them to {fitted[0]:.3g} and {fitted[1]:.3g} deg"
        )
    plain = residuals(chosen, Similarity.identity())
    if given_same and plain[0] > MAX_SPREAD_SHARE * extents(centres)[0]:
        raise NothingFoundError(
            f"{what}: is not in that frame: its images are {plain[0]:.3g} and {plain[1]:.3g} deg "
            "from where they are localized"
        )
    same = given_same or bool((fitted >= SAME_FRAME_GAIN * plain).all())
    position, rotation = plain if same else fitted
    return FrameFit(
        Similarity.identity() if same else fit.target_from_source,
        same,
        len(images),
        agreeing,
        float(position),
        float(rotation),
    )


def residuals(images: Sequence[InBoth], target_from_source: Similarity) -> NDArray[np.float64]:
    """Return the median distance of positions, and of orientations in degrees (2,).

    It is a weighted median: an image that is known twice as well counts four times.
    """
    found = np.array(
        [
            target_from_source.camera_pose(image.source)
            .inverse()
            .distance_to(image.target.inverse())
            for image in images
        ]
    )
    weights = np.array([image.sigma**-2.0 for image in images])
    return np.array([_weighted_median(column, weights) for column in found.T])


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(below, below[-1] / 2)]])

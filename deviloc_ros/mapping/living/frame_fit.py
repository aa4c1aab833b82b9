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
class FrameFit:
    """How two frames lie to each other.

    Attributes:
        target_from_source: the transform; the identity where both are one frame.
        same_frame: whether they are.
        num_images: how many images it rests on.
        num_agreeing: how many of them agree with it.
        position_residual: median distance of the images that agree, target units.
        rotation_residual: the same of their orientations, degrees.
    """

    target_from_source: Similarity
    same_frame: bool
    num_images: int
    num_agreeing: int
    position_residual: float
    rotation_residual: float


def fit_frames(
    source: Sequence[Transform],
    target: Sequence[Transform],
    fixed_scale: bool,
    what: str,
    given_same: bool = False,
) -> FrameFit:
    """Find target_from_source, and whether it is the identity within what localization tells.

    Args:
        source: camera_from_source of N images.
        target: camera_from_target of the same images, as localized.
        fixed_scale: both frames are metric.
        what: names the images, for errors.
        given_same: both are one frame, whatever localization says: it may be biased as a whole.

    Raises:
        NothingFoundError: too few images, or they do not agree on one transform.
    """
    if len(source) < MIN_IMAGES:
        raise NothingFoundError(
            f"{what}: {len(source)} of its images can be localized, at least {MIN_IMAGES} are "
            "needed to find its frame; do both show the same place?"
        )
    try:
        fit = fit_cameras(source, target, fixed_scale=fixed_scale)
    except UnderdeterminedError as error:
        raise NothingFoundError(f"{what}: its frame cannot be found: {error}") from None
    agreeing = int(np.count_nonzero(fit.inliers))
    chosen = [
        pair
        for pair, kept in zip(zip(source, target, strict=True), fit.inliers, strict=True)
        if kept
    ]
    fitted = residuals(chosen, fit.target_from_source)
    centres = np.array([other.inverse().translation for _, other in chosen])
    if (
        agreeing < max(MIN_IMAGES, MIN_AGREEING * len(source))
        or fitted[0] > MAX_SPREAD_SHARE * extents(centres)[0]
        or fitted[1] > MAX_TURN
    ):
        raise NothingFoundError(
            f"{what}: the {len(source)} images that can be localized do not agree on a frame: "
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
        len(source),
        agreeing,
        float(position),
        float(rotation),
    )


def residuals(
    pairs: Sequence[tuple[Transform, Transform]], target_from_source: Similarity
) -> NDArray[np.float64]:
    """Return the median distance of positions, and of orientations in degrees (2,)."""
    found = [
        target_from_source.camera_pose(one).inverse().distance_to(other.inverse())
        for one, other in pairs
    ]
    return np.asarray(np.median(found, axis=0))

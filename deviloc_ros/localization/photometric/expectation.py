"""Where patches of references are expected in a query, and which of those found are believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.photometric.lucas_kanade import SMOOTHING, AlignedPatches
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.maps.reference import Reference

# Smoothing makes neighbouring pixels err alike: so many of them tell as much as one.
PIXELS_ALIKE = 4 * np.pi * SMOOTHING**2
# A patch that differs more, or lies further from where the match was, shows something else.
MIN_CORRELATION = 0.7
MAX_SHIFT = 3.0
# What the pixels do not tell of a keypoint's error: surfaces are not flat, optics not sharp.
# Standard deviation, pixels of the working size.
FLOOR = 0.1
# Standard deviation of keypoints that were not found, pixels of the working size: more than the
# matcher's, which err alike.
UNFOUND_SIGMA = 4.0
# Of the numeric derivative by the depth, relative.
DEPTH_STEP = 1e-4
# From the keypoint of a match, pixels of the reference, and of its depth.
STEPS = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
DEEPER = np.array([1.0, 1.0, 1.0, 1.0 + DEPTH_STEP])
# Patches whose sides would change by more than this factor are seen too differently.
MAX_CHANGE_OF_SCALE = 3.0


@dataclass(frozen=True)
class Expected:
    """Where patches around reference keypoints are expected in a query, pixels of working sizes.

    Attributes:
        middles: (N, 2) float64, in the reference.
        start: (N, 2) float64, in the query: where the matches are.
        warps: (N, 2, 2) float64, what a step by one pixel in the reference is in the query; NaN
            where the patch is seen too differently to be found.
        along: (N, 2) float64, standard deviation of where the 3D points are seen, from their
            depths; None where depths are taken as true.
    """

    middles: NDArray[np.float64]
    start: NDArray[np.float64]
    warps: NDArray[np.float64]
    along: NDArray[np.float64] | None


def expected_patches(
    reference: Reference,
    reference_scale: NDArray[np.float64],
    camera: Camera,
    query_scale: NDArray[np.float64],
    camera_from_map: Transform,
    matches: Correspondences,
) -> Expected:
    """Return where the patches of matches with one reference are expected in a query.

    Args:
        reference: camera and pose.
        reference_scale: (2,), its pixels of the working size per pixel of the original.
        camera: of the query.
        query_scale: (2,), the same of the query.
        camera_from_map: about where the query was taken.
        matches: with the reference.
    """
    depth = reference.camera_from_map.apply(matches.points3d)[:, 2:]
    # The points of the matches, points beside them, and points behind them. A surface is taken to
    # face the reference's camera: how it really lies hardly matters to patches of this size, and is
    # not known well.
    pixels = matches.reference_keypoints + STEPS[:, None] / reference_scale
    rays = reference.camera.rays(pixels).reshape(*pixels.shape[:2], 3)
    in_query = (camera_from_map @ reference.camera_from_map.inverse()).apply(
        rays * depth * DEEPER[:, None, None]
    )
    middle, right, down, behind = camera.project(in_query).reshape(pixels.shape) * query_scale
    warps = np.stack([right - middle, down - middle], axis=-1)
    with np.errstate(invalid="ignore"):
        area = warps[:, 0, 0] * warps[:, 1, 1] - warps[:, 0, 1] * warps[:, 1, 0]
        change = np.sqrt(np.abs(area))
        alike = (change < MAX_CHANGE_OF_SCALE) & (change > 1 / MAX_CHANGE_OF_SCALE)
    # Of NaN no patch is found.
    warps[~alike] = np.nan
    along = None
    if matches.depth_sigma is not None:
        # Where a point of uncertain depth is seen is uncertain along its epipolar line.
        sigma = np.nan_to_num(matches.depth_sigma, nan=1.0).clip(max=1.0)
        along = (behind - middle) / DEPTH_STEP * sigma[:, None]
    return Expected(
        matches.reference_keypoints * reference_scale, matches.keypoints * query_scale, warps, along
    )


def joined(parts: Sequence[Expected]) -> Expected:
    """Return what is expected of several references, one behind the other; without any, nothing."""
    along = [part.along for part in parts if part.along is not None]
    return Expected(
        np.concatenate([np.zeros((0, 2)), *(part.middles for part in parts)]),
        np.concatenate([np.zeros((0, 2)), *(part.start for part in parts)]),
        np.concatenate([np.zeros((0, 2, 2)), *(part.warps for part in parts)]),
        np.concatenate(along) if along else None,
    )


def accepted(
    matches: Correspondences,
    expected: Expected,
    patches: AlignedPatches,
    query_scale: NDArray[np.float64],
) -> AlignedMatches:
    """Return matches at the patches that were found, where these are what was expected.

    Args:
        matches: (N).
        expected: of each.
        patches: what was found for each.
        query_scale: (2,), the query's pixels of the working size per pixel of the original.
    """
    shift = np.linalg.norm(patches.keypoints - expected.start, axis=1)
    found = (patches.correlation > MIN_CORRELATION) & (shift < MAX_SHIFT)
    covariance = np.where(
        found[:, None, None],
        PIXELS_ALIKE * patches.covariance + FLOOR**2 * np.eye(2),
        UNFOUND_SIGMA**2 * np.eye(2),
    )
    if expected.along is not None:
        covariance += expected.along[:, :, None] * expected.along[:, None, :]
    keypoints = np.where(found[:, None], patches.keypoints / query_scale, matches.keypoints)
    return AlignedMatches(
        replace(matches, keypoints=keypoints),
        covariance / (query_scale[:, None] * query_scale[None, :]),
        found,
        patches.gain,
    )

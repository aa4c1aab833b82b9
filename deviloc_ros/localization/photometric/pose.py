"""The pose that aligned matches give, and how certain it is.

Its covariance has two parts. One is the jackknife of covariance.py. The other is for what residuals
hardly show: errors that the matches of a large part of an image share, from lenses, from the map's
poses and surfaces, from light. Such an error is taken to be constant within each square of a third
of the image's longer side (of light: a quarter), and independent between them; what it does to the
pose follows from the matches' derivatives, as in a consider covariance (Tapley, Schutz and Born,
"Statistical Orbit Determination", 2004, chapter 6). How large it is in the map's light was measured
when the map was built. Light from another side moves shading, on all relief of a facade alike, and
comes on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.covariance import image_cells, m_estimate_covariance, whitening_of
from deviloc_ros.localization.least_squares import projection_jacobian, refine, whitened
from deviloc_ros.localization.photometric.matches import AlignedMatches, decisive

# Of the Cauchy loss, standard deviations: 95 % efficient where errors are Gaussian (Holland and
# Welsch, "Robust regression using iteratively reweighted least-squares", 1977).
LOSS_SCALE = 2.385
# Along the longer side of an image, the parts whose matches share an error, and one from light.
PARTS, LIGHT_PARTS = 3, 4
# By how much matches err together where the light has changed, for each unit of `light_change`,
# pixels of the working size: measured on rendered streets (benchmarks/studies/changed_light.py).
LIGHT_ERROR = 0.065


@dataclass(frozen=True)
class SharedError:
    """An error that the matches of each part of an image share.

    Attributes:
        part: (N,) int64, number of the part that each match is in.
        size: (N,) float64, standard deviation in x and in y, pixels of the working size; of one
            part all are equal.
    """

    part: NDArray[np.int64]
    size: NDArray[np.float64]


@dataclass(frozen=True)
class AlignedCovariance:
    """How certain a pose of aligned matches is.

    Attributes:
        total: (6, 6), of a body's pose.
        of_pixel: for each shared error (6, 6), what comes to it if that is one pixel.
    """

    total: NDArray[np.float64]
    of_pixel: tuple[NDArray[np.float64], ...]


PoseWithCovariance = tuple[Transform, AlignedCovariance | None]


@dataclass(frozen=True)
class Uncertainty:
    """What residuals do not tell of a pose's covariance.

    Attributes:
        shared_error: standard deviation of an error that the matches of a part of an image share
            in the light of the map, in x and in y, pixels of the working size.
        factor: on the whole covariance.
    """

    shared_error: float
    factor: float = 1.0

    def shared_error_of(self, aligned: AlignedMatches) -> NDArray[np.float64]:
        """Return the error that each match of an image shares in the map's light, (N,)."""
        return np.full(len(aligned.found), self.shared_error)


def light_error_of(aligned: AlignedMatches) -> NDArray[np.float64]:
    """Return what comes to that from light, (N,), pixels of the working size."""
    return np.full(len(aligned.found), LIGHT_ERROR * aligned.light_change)


def aligned_pose(
    first: Transform,
    aligned: AlignedMatches,
    camera: Camera,
    pixel_scale: float,
    uncertainty: Uncertainty,
) -> PoseWithCovariance:
    """Return camera_from_map of aligned matches, and the covariance of map_from_camera.

    Args:
        first: the pose that they were aligned with.
        aligned: the matches.
        camera: intrinsics of the query.
        pixel_scale: query pixels per pixel of the working size.
        uncertainty: of the map.
    """
    (aligned,) = decisive([aligned])
    matches, whitening = aligned.matches, aligned.whitening
    pose = refine(camera, first, matches.keypoints, matches.points3d, LOSS_SCALE, whitening)
    pixels, derivative = projection_jacobian(camera, pose, matches.points3d)
    residuals, derivative = whitened(pixels - matches.keypoints, derivative, whitening)
    places = image_cells(matches.keypoints, camera), matches.reference
    parts, light_parts = (
        image_cells(matches.keypoints, camera, along) for along in (PARTS, LIGHT_PARTS)
    )
    shared = (
        SharedError(parts, uncertainty.shared_error_of(aligned)),
        SharedError(light_parts, light_error_of(aligned)),
    )
    covariance = aligned_covariance(
        derivative, residuals, whitening * pixel_scale, matches.confidence, places, shared,
        uncertainty.factor,
    )  # fmt: skip
    return pose, covariance


def aligned_covariance(
    derivative: NDArray[np.float64],
    residuals: NDArray[np.float64],
    whitening: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: tuple[NDArray[np.int64], NDArray[np.int64]],
    shared_errors: Sequence[SharedError],
    factor: float,
) -> AlignedCovariance | None:
    """Return the covariance of a body's pose, or None where it is not determined.

    Args:
        derivative: (N, 2, 6), of the projections by the body's shift and turn, whitened.
        residuals: (N, 2), whitened.
        whitening: (N, 2, 2), from pixels of the working size to standard deviations.
        weights: (N,), of the matches.
        groups: (N,) each, see `m_estimate_covariance`.
        shared_errors: what residuals do not tell of.
        factor: on the covariance.
    """
    covariance = m_estimate_covariance(derivative, residuals, weights, groups, LOSS_SCALE, factor)
    if covariance is None:
        return None
    squared = np.sum((residuals / LOSS_SCALE) ** 2, axis=1)
    counted = np.nan_to_num(weights / (1 + squared))[:, None, None]
    derivative = np.nan_to_num(derivative)
    weighted = derivative * counted
    information = weighted.reshape(-1, 6).T @ derivative.reshape(-1, 6)
    solve = whitening_of(information)
    if solve is None:
        return None
    pulls = np.einsum("nai,nab->nib", weighted, whitening)
    of_pixel = []
    for shared in shared_errors:
        _, first, part = np.unique(shared.part, return_index=True, return_inverse=True)
        members = part == np.arange(len(first))[:, None]  # parts are few
        by_part = (members @ pulls.reshape(len(pulls), -1)).reshape(-1, *pulls.shape[1:])
        moved = solve @ solve.T @ by_part
        of_part = factor * np.einsum("pib,pjb->pij", moved, moved)
        covariance = covariance + np.einsum("p,pij->ij", shared.size[first] ** 2, of_part)
        of_pixel.append(of_part.sum(axis=0))
    return AlignedCovariance(covariance, tuple(of_pixel))

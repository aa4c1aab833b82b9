"""How certain a pose is.

Errors of matches are not independent: what lies close together in the image shares the depth that
was inferred for it, and what comes from one reference shares the error of that reference's pose.
Many matches then say less than their number promises. The cluster-robust covariance asks only that
groups of matches be independent, and learns from the residuals how far the members of a group go
together (Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika
1986; groups of two kinds at once: Cameron, Gelbach and Miller, "Robust inference with multiway
clustering", JBES 2011). Here it is the jackknife's: the spread of the poses that would come out if
one group after the other were left out (Bell and McCaffrey, "Bias reduction in standard errors for
linear regression with multi-stage samples", Survey Methodology 2002), which is right for few groups
of unequal weight, such as five references, too.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.least_squares import projection_jacobian
from deviloc_ros.localization.types import Correspondences

# Cells along the longer side of an image: matches within one are taken to err together.
CELLS = 16
PARAMETERS = 6
# Without a group that holds nearly all there is to know, no pose is left to compare with.
LEAST_REST = 0.1


def pose_covariance(
    camera_from_map: Transform,
    matches: Correspondences,
    camera: Camera,
    loss_scale: float,
    scale: float,
) -> NDArray[np.float64] | None:
    """Return the covariance of map_from_camera, or None where the pose is not determined.

    Args:
        camera_from_map: the pose.
        matches: that agree with it, of all references, not merged.
        camera: intrinsics of the query.
        loss_scale: of the Cauchy loss in the refinement, query pixels.
        scale: factor on it, measured when the map was built: what all groups have in common does
            not show in the residuals.

    Returns:
        (6, 6) float64: x, y, z in the map frame (squared map units), then rotation about the map's
        x, y, z axes (squared radians), as in geometry_msgs/PoseWithCovariance; or None.
    """
    pixels, derivative = projection_jacobian(camera, camera_from_map, matches.points3d)
    return m_estimate_covariance(
        derivative,
        pixels - matches.keypoints,
        matches.confidence,
        (image_cells(matches.keypoints, camera), matches.reference),
        loss_scale,
        scale,
    )


def image_cells(
    keypoints: NDArray[np.float64], camera: Camera, along: int = CELLS
) -> NDArray[np.int64]:
    """Return the number (N,) of the square of the image that each keypoint (N, 2) lies in.

    `along` squares lie along the longer side.
    """
    columns = np.floor(keypoints * along / max(camera.width, camera.height)).astype(np.int64)
    return np.asarray(columns[:, 0] + 2 * along * columns[:, 1])


def m_estimate_covariance(
    derivative: NDArray[np.float64],
    residuals: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: tuple[NDArray[np.int64], NDArray[np.int64]],
    loss_scale: float,
    scale: float,
) -> NDArray[np.float64] | None:
    """Return the covariance of a body's pose, or None where it is not determined.

    Args:
        derivative: (N, 2, 6), of the projections by the body's shift and turn; NaN of points that
            are not in front of the camera, which are left out.
        residuals: (N, 2), in the same pixels.
        weights: (N,), of the matches.
        groups: two groupings of the matches, (N,) each: by place in the image (of one camera), and
            by reference.
        loss_scale: of the Cauchy loss in the refinement.
        scale: factor on it.
    """
    sound = np.asarray(np.isfinite(derivative).all(axis=(1, 2)))
    derivative, residuals, weights = derivative[sound], residuals[sound], weights[sound]
    by_place, by_reference = (np.unique(group[sound], return_inverse=True)[1] for group in groups)
    # The pose takes up as many groups as it has parameters: fewer say nothing about its errors.
    if not len(by_place) or by_place.max() < PARAMETERS:
        return None
    squared = np.sum((residuals / loss_scale) ** 2, axis=1)
    slope = np.average(1 / (1 + squared) - squared / (1 + squared) ** 2, weights=weights)
    pull = residuals * (weights / (1 + squared))[:, None]
    by_both = np.unique(by_place * (by_reference.max() + 1) + by_reference, return_inverse=True)[1]
    of_place, of_reference, of_both = (
        _sums(derivative, slope * weights, pull, group, int(group.max()) + 1)
        for group in (by_place, by_reference, by_both)
    )
    whitening = whitening_of(of_place[1].sum(axis=0))
    if slope <= 0 or whitening is None:
        return None
    spread = _jackknife(*of_place, whitening)
    if by_reference.max() > 0:
        # Errors of single matches are in both spreads, and are taken off once.
        spread += _positive(_jackknife(*of_reference, whitening) - _jackknife(*of_both, whitening))
    covariance = scale * whitening @ spread @ whitening.T
    covariance = (covariance + covariance.T) / 2
    if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance).min() <= 0:
        return None
    return np.asarray(covariance)


def whitening_of(information: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return W with W^T A W = I, or None where A (6, 6) has no inverse."""
    norm = np.sqrt(np.diag(information))
    if not (norm > 0).all():
        return None
    # Units differ between the columns; scaled to unit length they invert without losing digits.
    values, vectors = np.linalg.eigh(information / np.outer(norm, norm))
    if values[0] <= PARAMETERS * np.finfo(np.float64).eps:
        return None
    return np.asarray(vectors / np.sqrt(values) / norm[:, None])


def _jackknife(
    influence: NDArray[np.float64],
    information: NDArray[np.float64],
    whitening: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the sum of d d^T (6, 6), d being by how much the pose moves without a group.

    In coordinates where all matches together have the information I: d = (I - A_g)^-1 u_g, with A_g
    the information and u_g the influence of the group's matches.

    Args:
        influence: (G, 6) of the groups.
        information: (G, 6, 6) of the groups.
        whitening: (6, 6), to those coordinates.
    """
    information, influence = whitening.T @ information @ whitening, influence @ whitening
    moved = np.empty_like(influence)
    # No eigenvalue is above the trace: most groups hold too little for the limit to matter.
    small = np.trace(information, axis1=1, axis2=2) <= 1 - LEAST_REST
    rest = np.eye(PARAMETERS) - information[small]
    moved[small] = np.linalg.solve(rest, influence[small][:, :, None])[:, :, 0]
    held, axes = np.linalg.eigh(information[~small])
    along = np.einsum("gij,gi->gj", axes, influence[~small])
    moved[~small] = np.einsum("gij,gj->gi", axes, along / np.maximum(1 - held, LEAST_REST))
    return np.asarray(moved.T @ moved)


def _positive(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a symmetric matrix without its negative eigenvalues: few references spread by chance.

    In coordinates where all axes are known equally well.
    """
    values, axes = np.linalg.eigh(matrix)
    return np.asarray((axes * np.maximum(values, 0)) @ axes.T)


@numba.njit(nogil=True, cache=True)
def _sums(
    derivative: NDArray[np.float64],
    worth: NDArray[np.float64],
    pull: NDArray[np.float64],
    group: NDArray[np.int64],
    num_groups: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return J^T pull (G, 6) and J^T worth J (G, 6, 6), summed over the matches of each group."""
    influence = np.zeros((num_groups, PARAMETERS))
    information = np.zeros((num_groups, PARAMETERS, PARAMETERS))
    for i in range(len(group)):
        g = group[i]
        for row in range(2):
            j = derivative[i, row]
            for a in range(PARAMETERS):
                influence[g, a] += j[a] * pull[i, row]
                for b in range(PARAMETERS):
                    information[g, a, b] += worth[i] * j[a] * j[b]
    return influence, information

"""A 3D point for every reference keypoint: observed where an SfM point is near, else inferred.

This is the place of DeViLoc's Point Inference Network. The inference here is geometric: inverse
depth, linear over the Delaunay triangles of the view's SfM points. A keypoint always keeps its own
viewing ray and takes only its depth from the points around it (DESIGN section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError, cKDTree
from scipy.special import erf, erfinv

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

# Confidence is the probability that an inferred depth is right to within this share of it.
DEPTH_TOLERANCE = 0.02
# Relative standard deviation of depths: least of an inferred one, and usual of an observed one.
INFERRED_SIGMA = 0.05
USUAL_OBSERVED_SIGMA = 0.003


@dataclass(frozen=True)
class ReferenceView:
    """What a reference image knows of the scene.

    Attributes:
        camera: its intrinsics.
        camera_from_map: its pose.
        observations: (M, 2) float64, pixels of the SfM points it observes.
        points3d: (M, 3) float64, those points, map frame.
    """

    camera: Camera
    camera_from_map: Transform
    observations: NDArray[np.float64]
    points3d: NDArray[np.float64]


@dataclass(frozen=True)
class LiftedKeypoints:
    """A 3D point for each keypoint of one reference.

    Attributes:
        points3d: (N, 3) float64, map frame; NaN where nothing could be inferred.
        confidence: (N,) float64 in [0, 1]; 1 where observed, 0 where nothing could be inferred.
        observed: (N,) bool, the depth is that of an SfM point within the radius.
    """

    points3d: NDArray[np.float64]
    confidence: NDArray[np.float64]
    observed: NDArray[np.bool_]

    @property
    def depth_sigma(self) -> NDArray[np.float64]:
        """Relative standard deviation of the depths, (N,); NaN where nothing could be inferred."""
        inferred = np.maximum(sigma_of(self.confidence), INFERRED_SIGMA)
        sigma = np.where(self.observed, USUAL_OBSERVED_SIGMA, inferred)
        return np.where(self.confidence > 0, sigma, np.nan)


def confidence_of(relative_sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how likely a depth with this standard deviation is right to DEPTH_TOLERANCE."""
    with np.errstate(divide="ignore"):
        return np.asarray(erf(DEPTH_TOLERANCE / (np.sqrt(2.0) * relative_sigma)))


def sigma_of(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative standard deviation that a confidence stands for; see confidence_of."""
    with np.errstate(divide="ignore"):
        return np.asarray(DEPTH_TOLERANCE / (np.sqrt(2.0) * erfinv(confidence)))


class PointInference(Protocol):
    """Infers the depth of keypoints that no SfM point is near to."""

    def __call__(
        self,
        keypoints: NDArray[np.float64],
        observations: NDArray[np.float64],
        depths: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Infer from one view's SfM points.

        Args:
            keypoints: (N, 2), pixels.
            observations: (M, 2), pixels; M > 0.
            depths: (M,) > 0, along the camera's z axis.

        Returns:
            Depths (N,) and confidences (N,) in [0, 1].
        """
        ...


def lift(
    view: ReferenceView,
    keypoints: NDArray[np.float64],
    observed_radius: float,
    infer: PointInference,
) -> LiftedKeypoints:
    """Give every keypoint of a reference its 3D point.

    Args:
        view: the reference.
        keypoints: (N, 2) float64, its pixels.
        observed_radius: an SfM observation nearer than this makes a keypoint observed, pixels.
        infer: the inference for all other keypoints.
    """
    depths = view.camera_from_map.apply(view.points3d)[:, 2]
    usable = depths > 0
    observations, depths = view.observations[usable], depths[usable]
    confidence = np.zeros(len(keypoints))
    depth = np.full(len(keypoints), np.nan)
    observed = np.zeros(len(keypoints), dtype=np.bool_)
    if len(observations):
        distance, nearest = _nearest(keypoints, observations, 1)
        observed = distance[:, 0] < observed_radius
        depth[observed], confidence[observed] = depths[nearest[observed, 0]], 1.0
        depth[~observed], confidence[~observed] = infer(keypoints[~observed], observations, depths)
    rays = view.camera.rays(keypoints)
    points = view.camera_from_map.inverse().apply(rays * depth[:, None])
    nowhere = ~np.isfinite(points).all(axis=1)
    points[nowhere], confidence[nowhere] = np.nan, 0.0
    return LiftedKeypoints(points, confidence, observed)


@dataclass(frozen=True)
class GeometricInference:
    """Delaunay-linear inverse depth, with an inverse-distance fallback outside the triangles.

    A triangle whose corners differ in depth spans an edge between two surfaces, or a slanted one;
    its interior is less certain. So is a keypoint far from every observation.

    Attributes:
        neighbours: observations that the fallback averages.
        edge_tolerance: relative spread of a triangle's depths at which confidence falls to a half.
        reach: distance to the nearest observation at which confidence falls to a half, pixels.
    """

    neighbours: int = 4
    edge_tolerance: float = 0.15
    reach: float = 60.0

    def __call__(
        self,
        keypoints: NDArray[np.float64],
        observations: NDArray[np.float64],
        depths: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return depths (N,) and confidences (N,); see PointInference."""
        if not len(keypoints):
            return np.zeros(0), np.zeros(0)
        inverse = 1.0 / depths
        distance, near = _nearest(keypoints, observations, self.neighbours)
        weights = 1.0 / np.maximum(distance, 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        inside, triangles, barycentric = _locate(keypoints, observations)
        result = (inverse[near] * weights).sum(axis=1)
        spread = _relative_spread(inverse[near])
        result[inside] = (inverse[triangles] * barycentric).sum(axis=1)
        spread[inside] = _relative_spread(inverse[triangles])
        confidence = 1.0 / (1.0 + (spread / self.edge_tolerance) ** 2)
        confidence /= 1.0 + (distance[:, 0] / self.reach) ** 2
        # Outside the triangles the depth is extrapolated.
        confidence[~inside] *= 0.5
        return 1.0 / result, confidence


def _nearest(
    keypoints: NDArray[np.float64], observations: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and indices of the nearest observations, (N, count) or all there are."""
    query = cKDTree(observations).query(keypoints, k=min(count, len(observations)))
    shape = (len(keypoints), -1)
    return np.reshape(query[0], shape), np.reshape(query[1], shape).astype(np.int64)


def _locate(
    keypoints: NDArray[np.float64], observations: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Return which keypoints lie in a Delaunay triangle, its corners and their weights."""
    none = np.zeros(len(keypoints), dtype=np.bool_)
    if len(observations) < 3:
        return none, np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3))
    try:
        mesh = Delaunay(observations)
    except QhullError:  # all observations on one line
        return none, np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3))
    simplex = mesh.find_simplex(keypoints)
    inside = simplex >= 0
    affine = mesh.transform[simplex[inside]]
    first = np.einsum("nij,nj->ni", affine[:, :2], keypoints[inside] - affine[:, 2])
    weights = np.column_stack([first, 1.0 - first.sum(axis=1)])
    sound = np.isfinite(weights).all(axis=1)
    inside[np.flatnonzero(inside)[~sound]] = False
    return inside, mesh.simplices[simplex[inside]].astype(np.int64), weights[sound]


def _relative_spread(inverse_depths: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = inverse_depths.max(axis=1) - inverse_depths.min(axis=1)
    return np.asarray(spread / inverse_depths.mean(axis=1))

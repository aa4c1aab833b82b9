"""Depths of a reference's features, measured by where its neighbours see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.ray_triangulation import RayMeasurements, triangulate_on_rays
from deviloc_ros.localization.photometric.aligner import Aligner
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.mapping.multiview.depth_fusion import Measurements, robust_sigma
from deviloc_ros.mapping.multiview.epipolar import EPIPOLAR_GATE
from deviloc_ros.mapping.multiview.matching import SeenAgain, triangulate, unbiased
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.offset_bias import OffsetBias

# Standard deviation of a match along its epipolar line, network pixels.
MATCH_SIGMA = 1.0
# Fewer aligned matches do not tell how far the poses of views let them lie off their lines.
MIN_ALIGNED = 100


@dataclass(frozen=True)
class SeenDepths:
    """Depths of M features of a reference by where one neighbour sees them.

    A of them were found in the pixels of the neighbour, too.

    Attributes:
        feature: (M,) int64, which features of the reference: 0 is its first.
        inverse_depth: (M,) float64; not sound where it is negative.
        sigma: (M,) float64, their standard deviations, by the matcher alone.
        aligned: (A,) int64, which of the M were found in the pixels.
        of_pixel: (A,) float64, what an error of one pixel along the epipolar line makes of these.
        pixel_sigma: (A,) float64, standard deviations along the line by the pixels.
        off_line: (A,) float64, distances to the line, working pixels.
        working: the neighbour's working pixels per pixel.
    """

    feature: NDArray[np.int64]
    inverse_depth: NDArray[np.float64]
    sigma: NDArray[np.float64]
    aligned: NDArray[np.int64]
    of_pixel: NDArray[np.float64]
    pixel_sigma: NDArray[np.float64]
    off_line: NDArray[np.float64]
    working: float

    def measurements(self, line_sigma: float) -> Measurements:
        """Return what can be fused.

        Args:
            line_sigma: how far aligned matches lie off their lines, working pixels; see below.
        """
        sigma = self.sigma.copy()
        floor = line_sigma / self.working
        sigma[self.aligned] = self.of_pixel * np.maximum(self.pixel_sigma, floor)
        kept = (self.inverse_depth > 0) & np.isfinite(sigma)
        return Measurements(
            self.feature[kept],
            self.inverse_depth[kept],
            sigma[kept],
            np.ones(int(kept.sum()), dtype=np.bool_),
        )


def line_sigma_of(sample: Sequence[SeenDepths]) -> float:
    """Return how far aligned matches lie off their epipolar lines, working pixels.

    That is what the errors of poses do to matches, and along the lines they do the same.
    """
    joined = np.concatenate([np.zeros(0), *(seen.off_line for seen in sample)])
    joined = joined[np.isfinite(joined)]
    return robust_sigma(joined) if len(joined) >= MIN_ALIGNED else MATCH_SIGMA


class ViewDepths:
    """Measures depths; with an aligner, from matches moved to where the images agree."""

    def __init__(self, reference_map: Map, bias: OffsetBias, aligner: Aligner | None) -> None:
        """Take a map.

        Args:
            reference_map: poses, cameras, keypoints, images for an aligner.
            bias: of fine offsets.
            aligner: with this map.
        """
        self._map, self._bias, self._aligner = reference_map, bias, aligner

    def __call__(self, index: int, found: Sequence[SeenAgain]) -> list[SeenDepths]:
        """Return what each of the neighbours says of a reference's features."""
        return [self._of_view(index, seen) for seen in found]

    def _of_view(self, index: int, seen: SeenAgain) -> SeenDepths:
        sound, measured = self._sound(index, seen)
        inverse_depth = measured.inverse_depth[sound]
        sigma = measured.sigma[sound] * MATCH_SIGMA * seen.scale
        if self._aligner is None:
            none = np.zeros(0)
            return SeenDepths(
                seen.feature[sound], inverse_depth, sigma, none.astype(np.int64), none, none, none,
                1.0,
            )  # fmt: skip
        rows, aligned, pixel_sigma = self._aligned(index, seen, sound, measured)
        inverse_depth[rows] = aligned.inverse_depth
        working = float(self._aligner.image_of(seen.neighbour).scale.mean())
        return SeenDepths(
            seen.feature[sound], inverse_depth, sigma, rows, aligned.sigma, pixel_sigma,
            aligned.epipolar_error * working, working,
        )  # fmt: skip

    def _sound(self, index: int, seen: SeenAgain) -> tuple[NDArray[np.int64], RayMeasurements]:
        """Return which matches lie on their epipolar line, in front of the view, and all depths."""
        measured = triangulate(self._map, index, seen, self._bias)
        with np.errstate(invalid="ignore"):
            sound = (
                (np.abs(measured.epipolar_error) < EPIPOLAR_GATE * seen.scale)
                & (measured.inverse_depth > 0)
                & np.isfinite(measured.sigma)
            )
        return np.flatnonzero(sound), measured

    def _aligned(
        self, index: int, seen: SeenAgain, sound: NDArray[np.int64], measured: RayMeasurements
    ) -> tuple[NDArray[np.int64], RayMeasurements, NDArray[np.float64]]:
        """Return which of the sound matches were found in the neighbour's pixels, and depths.

        Third come the standard deviations of the pixels along epipolar lines.
        """
        assert self._aligner is not None
        first, second = self._map.references[index], self._map.references[seen.neighbour]
        stored = self._map.keypoints[self._map.features_of(index)]
        keypoints = stored[seen.feature[sound]].astype(np.float64)
        rays = first.camera.rays(keypoints)
        in_first = rays / measured.inverse_depth[sound, None]
        matches = Correspondences(
            unbiased(seen, second.camera, self._bias)[sound],
            first.camera_from_map.inverse().apply(in_first),
            np.ones(len(sound)),
            np.full(len(sound), index),
            keypoints,
        )
        image = self._aligner.image_of(seen.neighbour)
        aligned = self._aligner.align(image, second.camera, second.camera_from_map, matches)
        depths = triangulate_on_rays(
            rays[aligned.found],
            second.camera,
            second.camera_from_map @ first.camera_from_map.inverse(),
            aligned.matches.keypoints[aligned.found],
        )
        along = np.stack([depths.across[:, 1], -depths.across[:, 0]], axis=1)
        variance = np.einsum("ni,nij,nj->n", along, aligned.covariance[aligned.found], along)
        return np.flatnonzero(aligned.found), depths, np.sqrt(variance)

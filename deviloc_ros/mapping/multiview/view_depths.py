"""Depths of a reference's features, measured by where its neighbours see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


class ViewDepths:
    """Measures depths; with an aligner, from matches moved to where the images agree."""

    def __init__(
        self,
        reference_map: Map,
        bias: OffsetBias,
        aligner: Aligner | None,
        sample: Mapping[int, Sequence[SeenAgain]],
    ) -> None:
        """Learn from a sample how far aligned matches lie off their epipolar lines.

        That is what the errors of poses do to matches, and along the lines they do the same.

        Args:
            reference_map: poses, cameras, keypoints, images for an aligner.
            bias: of fine offsets.
            aligner: with this map.
            sample: for references by index, what their neighbours see.
        """
        self._map, self._bias, self._aligner = reference_map, bias, aligner
        errors = [np.zeros(0)]
        for index, found in sample.items() if aligner is not None else ():
            for seen in found:
                sound, measured = self._sound(index, seen)
                _, aligned, _ = self._aligned(index, seen, sound, measured)
                errors.append(aligned.epipolar_error * self._working(seen))
        joined = np.concatenate(errors)
        joined = joined[np.isfinite(joined)]
        # In working pixels.
        enough = len(joined) >= MIN_ALIGNED
        self.line_sigma = robust_sigma(joined) if enough else MATCH_SIGMA

    def __call__(self, index: int, found: Sequence[SeenAgain]) -> list[Measurements]:
        """Return what the neighbours say of a reference's features."""
        parts = []
        for seen in found:
            sound, measured = self._sound(index, seen)
            inverse_depth = measured.inverse_depth[sound]
            sigma = measured.sigma[sound] * MATCH_SIGMA * seen.scale
            if self._aligner is not None:
                rows, aligned, pixel_sigma = self._aligned(index, seen, sound, measured)
                inverse_depth[rows] = aligned.inverse_depth
                floor = self.line_sigma / self._working(seen)
                sigma[rows] = aligned.sigma * np.maximum(pixel_sigma, floor)
            kept = (inverse_depth > 0) & np.isfinite(sigma)
            parts.append(
                Measurements(
                    seen.feature[sound][kept],
                    inverse_depth[kept],
                    sigma[kept],
                    np.ones(int(kept.sum()), dtype=np.bool_),
                )
            )
        return parts

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

    def _working(self, seen: SeenAgain) -> float:
        """Return a neighbour's working pixels per pixel."""
        assert self._aligner is not None
        return float(self._aligner.image_of(seen.neighbour).scale.mean())

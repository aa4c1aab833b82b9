"""The 2D-3D matches of all cameras of a rig, and how their errors depend on the base's pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.covariance import image_cells
from deviloc_ros.localization.least_squares import lens_jacobian, projection_jacobian, whitened
from deviloc_ros.localization.types import Correspondences, concatenated


@dataclass(frozen=True)
class Group:
    """What one camera and one cluster of references have in common.

    Attributes:
        camera: index of the camera.
        matches: merged, in pixels of the original image.
        references: names of the cluster's images.
    """

    camera: int
    matches: Correspondences
    references: tuple[str, ...]


@dataclass(frozen=True)
class RigMatches:
    """2D-3D matches of all cameras of a rig, in the pixels of their working sizes.

    One threshold then holds for every camera, whatever the size of its images.

    Attributes:
        cameras: intrinsics, of the working size.
        base_from_camera: where each camera sits.
        owner: (N,) int64, index of the camera that a match belongs to.
        part: (N,) int64, number of the part that it was gathered from.
        keypoints: (N, 2) float64.
        points3d: (N, 3) float64, map frame.
        confidence: (N,) float64, of the points.
        reference: (N,) int64, the reference image that a match comes from; -1 after merging.
        free: (N,) bool, see Correspondences.
        whitening: (N, 2, 2) float64, from pixels to standard deviations of aligned keypoints; None
            where they are not aligned.
    """

    cameras: tuple[Camera, ...]
    base_from_camera: tuple[Transform, ...]
    owner: NDArray[np.int64]
    part: NDArray[np.int64]
    keypoints: NDArray[np.float64]
    points3d: NDArray[np.float64]
    confidence: NDArray[np.float64]
    reference: NDArray[np.int64]
    free: NDArray[np.bool_]
    whitening: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """Return the number of matches."""
        return len(self.keypoints)

    def select(self, mask: NDArray[np.bool_]) -> RigMatches:
        """Return the matches that a mask (N,) names."""
        return replace(
            self,
            owner=self.owner[mask],
            part=self.part[mask],
            keypoints=self.keypoints[mask],
            points3d=self.points3d[mask],
            confidence=self.confidence[mask],
            reference=self.reference[mask],
            free=self.free[mask],
            whitening=None if self.whitening is None else self.whitening[mask],
        )

    def moved(self, shift: NDArray[np.float64]) -> RigMatches:
        """Return the matches with their points shifted in the map frame."""
        return replace(self, points3d=self.points3d + shift)

    def supporting(self, inliers: NDArray[np.bool_], min_ratio: float) -> NDArray[np.bool_]:
        """Return which matches (N,) are of a part with at least this share of inliers."""
        size = np.bincount(self.part)
        agreeing = np.bincount(self.part[inliers], minlength=len(size))
        return np.asarray(((agreeing > 0) & (agreeing >= min_ratio * size))[self.part])

    def in_camera(self, base_from_map: Transform) -> NDArray[np.float64]:
        """Return the points (N, 3), each in the frame of its camera."""
        result = np.empty_like(self.points3d)
        for index, base_from_camera in enumerate(self.base_from_camera):
            own = self.owner == index
            camera_from_map = base_from_camera.inverse() @ base_from_map
            result[own] = camera_from_map.apply(self.points3d[own])
        return result

    def residuals(self, base_from_map: Transform) -> NDArray[np.float64]:
        """Return projection minus keypoint (N, 2), pixels; NaN behind the camera."""
        in_camera = self.in_camera(base_from_map)
        result = np.empty_like(self.keypoints)
        for index, camera in enumerate(self.cameras):
            own = self.owner == index
            result[own] = camera.project(in_camera[own]) - self.keypoints[own]
        return result

    def lens(self, base_from_map: Transform) -> NDArray[np.float64]:
        """Return the derivatives (N, 2, 2) of pixels by the normalised image plane."""
        in_camera = self.in_camera(base_from_map)
        result = np.empty((len(self), 2, 2))
        for index, camera in enumerate(self.cameras):
            own = self.owner == index
            result[own] = lens_jacobian(camera, in_camera[own])
        return result

    def places(self, along: int) -> NDArray[np.int64]:
        """Return the number (N,) of the square that each keypoint lies in; see `image_cells`.

        Squares of different cameras' images are different.
        """
        place = np.empty(len(self), dtype=np.int64)
        for index, camera in enumerate(self.cameras):
            own = self.owner == index
            place[own] = image_cells(self.keypoints[own], camera, along) * len(self.cameras) + index
        return place

    def linearise(
        self, base_from_map: Transform, lens: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return residuals (N, 2) and their derivatives (N, 2, 6) by the base's shift and turn.

        Both along the map's fixed axes, the turn through the base's origin: it moves a camera, too.
        In pixels, or in standard deviations where keypoints are aligned.
        """
        residuals, jacobian = np.empty((len(self), 2)), np.empty((len(self), 2, 6))
        base = base_from_map.inverse().translation
        for index, camera in enumerate(self.cameras):
            own = self.owner == index
            camera_from_map = self.base_from_camera[index].inverse() @ base_from_map
            pixels, part = projection_jacobian(
                camera, camera_from_map, self.points3d[own], lens[own]
            )
            lever = camera_from_map.inverse().translation - base
            part[:, :, 3:] += np.cross(lever, part[:, :, :3])
            residuals[own], jacobian[own] = pixels - self.keypoints[own], part
        return whitened(residuals, jacobian, self.whitening)


def gather(
    parts: Sequence[tuple[int, Correspondences]],
    cameras: Sequence[Camera],
    base_from_camera: Sequence[Transform],
    max_size: int,
    whitening: Sequence[NDArray[np.float64]] | None = None,
) -> RigMatches:
    """Return all matches, one part after the other, as if every image had its working size.

    Args:
        parts: index of a camera, and matches in pixels of its original image.
        cameras: of the original images.
        base_from_camera: where they sit.
        max_size: longer side of a larger image's working size, pixels.
        whitening: of each part (N, 2, 2), from such pixels to standard deviations.
    """
    working, shrink = [], []
    for camera in cameras:
        factor = 1 / camera.reduction_to(max_size)
        size = round(camera.width * factor), round(camera.height * factor)
        working.append(camera if factor == 1.0 else camera.scaled(*size))
        shrink.append((working[-1].width / camera.width, working[-1].height / camera.height))
    together = concatenated([matches for _, matches in parts])
    counts = [len(matches) for _, matches in parts]
    owner = np.repeat(np.array([index for index, _ in parts], dtype=np.int64), counts)
    shrunk = np.array(shrink)[owner]
    return RigMatches(
        tuple(working),
        tuple(base_from_camera),
        owner,
        np.repeat(np.arange(len(parts)), counts),
        together.keypoints * shrunk,
        together.points3d,
        together.confidence,
        together.reference,
        together.free,
        None if whitening is None else np.concatenate(whitening) / shrunk[:, None, :],
    )

"""A map: reference images with poses, and for every feature of each a 3D point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.images import decode_gray
from deviloc_ros.maps import map_file
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.content import (
    ARRAYS,
    Description,
    are_offsets,
    check_arrays,
    check_description,
)
from deviloc_ros.maps.opened_file import OpenedFile
from deviloc_ros.maps.reference import Reference


@dataclass(frozen=True)
class Map:
    """A map in memory or on disk. Positions are in the map frame; arrays relative to `origin`.

    Attributes:
        references: the R reference images.
        feature_offsets: (R + 1,) int64, where each reference's features begin and end in the next.
        keypoints: (F, 2) float32, pixels.
        descriptors: (F, D) int8, or float16 in maps of older programs; see descriptor_codes.py.
        levels: (F,) uint8, level of the image pyramid.
        feature_points: (F, 3) float32, the feature's 3D point minus `origin`; NaN where unknown.
        confidence: (F,) float16, of that point; 0 where unknown.
        global_descriptors: (R, G) float16, unit length.
        codebook: (C, D) float32, words of the global descriptor, unit length.
        point_array: (P, 3) float32, SfM points minus `origin`.
        observation_offsets: (R + 1,) int64, where each reference's observations begin and end.
        observation_points: (O,) int32, index of the SfM point.
        observation_pixels: (O, 2) float32, where it is seen.
        origin: (3,) float64, keeps the arrays small in large maps.
        metric: whether one unit is one metre.
        gravity_aligned: whether z points up.
        calibration: see Calibration.
        unregistered: image name to why it is not in the map.
        meta: how the map was made.
        depth_sigma: (F,) float16, relative standard deviation of the depth of the feature's 3D
            point; NaN where unknown. None in older maps.
        image_size: longest side of the images below if they were made for matcher topicfm.
        image_offsets: (R + 1,) int64, where each reference's image begins and ends in the next.
        image_bytes: (B,) uint8, reduced gray reference images: PNG for topicfm, else WebP, or JPEG
            in maps of older programs.
        source: what to name in an error about this map.
        file: it was read from; None: it was made in this process.
    """

    references: Sequence[Reference]
    feature_offsets: NDArray[np.int64]
    keypoints: NDArray[np.float32]
    descriptors: NDArray[np.int8]
    levels: NDArray[np.uint8]
    feature_points: NDArray[np.float32]
    confidence: NDArray[np.float16]
    global_descriptors: NDArray[np.float16]
    codebook: NDArray[np.float32]
    point_array: NDArray[np.float32]
    observation_offsets: NDArray[np.int64]
    observation_points: NDArray[np.int32]
    observation_pixels: NDArray[np.float32]
    origin: NDArray[np.float64]
    metric: bool
    gravity_aligned: bool
    calibration: Calibration
    unregistered: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    depth_sigma: NDArray[np.float16] | None = None
    image_size: int | None = None
    image_offsets: NDArray[np.int64] | None = None
    image_bytes: NDArray[np.uint8] | None = None
    source: str = "the map"
    file: OpenedFile | None = None

    ARRAYS = (
        "feature_offsets", "keypoints", "descriptors", "levels", "feature_points", "confidence",
        "global_descriptors", "codebook", "point_array", "observation_offsets",
        "observation_points", "observation_pixels",
    )  # fmt: skip
    NEWER_ARRAYS = ("depth_sigma", "image_offsets", "image_bytes")

    @property
    def points3d(self) -> NDArray[np.float64]:
        """The SfM points (P, 3), map frame."""
        return np.asarray(self.point_array, dtype=np.float64) + self.origin

    @property
    def bounds(self) -> NDArray[np.float64]:
        """Least and largest camera position (2, 3), map frame."""
        centres, _ = self.viewpoints
        return np.stack([centres.min(axis=0), centres.max(axis=0)])

    @cached_property
    def viewpoints(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where cameras are (R, 3), and directions in which they look (R, 3), map frame."""
        poses = [reference.camera_from_map for reference in self.references]
        # All at once: a large place has thousands.
        rotations = Rotation.concatenate([pose.rotation for pose in poses]).as_matrix()
        translations = np.array([pose.translation for pose in poses])
        return -np.einsum("rji,rj->ri", rotations, translations), rotations[:, 2].copy()

    @cached_property
    def _visibility(self) -> Any:
        """Which reference (row) sees which SfM point (column): sparse (R, P), int32."""
        offsets = np.asarray(self.observation_offsets)
        return scipy.sparse.csr_array(
            (np.ones(offsets[-1], dtype=np.int32), np.asarray(self.observation_points), offsets),
            shape=(len(self.references), len(self.point_array)),
        )

    def shared_points(self, references: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return how many SfM points each two of the given references share: (K, K)."""
        visible = self._visibility[references]
        return np.asarray((visible @ visible.T).toarray(), dtype=np.int32)

    def shared_points_with(self, reference: int) -> NDArray[np.int32]:
        """Return how many SfM points each reference shares with the given one: (R,)."""
        visible = self._visibility
        return np.asarray((visible @ visible[[reference]].T).toarray()[:, 0], dtype=np.int32)

    def features_of(self, reference: int) -> slice:
        """Return where a reference's features lie in the feature arrays."""
        return slice(int(self.feature_offsets[reference]), int(self.feature_offsets[reference + 1]))

    def observations_of(self, reference: int) -> slice:
        """Return where a reference's observations lie in the observation arrays."""
        return slice(
            int(self.observation_offsets[reference]), int(self.observation_offsets[reference + 1])
        )

    @property
    def alignable(self) -> bool:
        """Whether it holds what it takes to align matches; older maps do not."""
        return self.image_bytes is not None and self.depth_sigma is not None

    def image_of(self, reference: int) -> NDArray[np.uint8]:
        """Return a reference's reduced image (H, W), gray.

        Raises:
            InputError: the map holds no images, or this one is damaged.
        """
        if self.image_bytes is None or self.image_offsets is None:
            raise InputError(f"{self.source}: holds no images; build it again")
        begin, end = self.image_offsets[reference : reference + 2]
        name = self.references[reference].name
        return decode_gray(np.array(self.image_bytes[begin:end]), f"{self.source}: {name}")

    def approach(self, position: NDArray[np.float64]) -> None:
        """Make ready for queries near a position (3,): nothing to do where all is at hand."""

    def check(self) -> None:
        """Refuse to go on where the map's file was written over since it was read.

        Raises:
            DamagedMapError: it was.
        """
        if self.file is not None:
            self.file.check()

    def save(self, path: Path) -> None:
        """Write the map file."""
        description = {
            "references": [reference.to_json() for reference in self.references],
            "origin": self.origin.tolist(),
            "metric": self.metric,
            "gravity_aligned": self.gravity_aligned,
            **self.calibration.to_json(),
            "unregistered": dict(self.unregistered),
            "meta": dict(self.meta),
            "image_size": self.image_size,
        }
        arrays = {name: getattr(self, name) for name in (*self.ARRAYS, *self.NEWER_ARRAYS)}
        present = {name: array for name, array in arrays.items() if array is not None}
        map_file.write(path, present, description)

    @staticmethod
    def load(path: str | Path, verify: bool = True, resident: int | None = None) -> Map:
        """Open a map file.

        Args:
            path: the file.
            verify: check every array against its checksum, and every number.
            resident: see `map_file.read`.

        Raises:
            InputError: not a map, damaged, cut short, or of a newer version.
        """
        path = Path(path)
        content = map_file.read(path, verify, resident=resident)
        arrays, description = content.arrays, content.description
        check_description(path, Description, description)
        check_arrays(path, ARRAYS, arrays, len(description["references"]), verify)
        try:
            image_size = description.get("image_size")
            newer = [name for name in Map.NEWER_ARRAYS if name in arrays]
            result = Map(
                references=[Reference.from_json(entry) for entry in description["references"]],
                origin=np.array(description["origin"], dtype=np.float64),
                metric=bool(description["metric"]),
                gravity_aligned=bool(description["gravity_aligned"]),
                calibration=Calibration.from_json(description),
                unregistered=description["unregistered"],
                meta=description["meta"],
                image_size=None if image_size is None else int(image_size),
                source=str(path),
                file=content.file,
                **{name: arrays[name] for name in (*Map.ARRAYS, *newer)},
            )
        except InputError as error:
            raise InputError(f"{path}: the map is damaged: {error}; build it again") from None
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: the map is damaged: {error!r}; build it again") from None
        _check(path, result)
        return result

    def with_calibration(self, calibration: Calibration) -> Map:
        """Return the same map with another calibration."""
        return replace(self, calibration=calibration)

    def with_meta(self, more: Mapping[str, Any]) -> Map:
        """Return the same map with additions to `meta`."""
        return replace(self, meta={**self.meta, **more})

    def with_images(
        self, image_size: int | None, offsets: NDArray[np.int64], data: NDArray[np.uint8]
    ) -> Map:
        """Return the same map with reference images; see the attributes."""
        return replace(self, image_size=image_size, image_offsets=offsets, image_bytes=data)


def offsets_of(counts: ArrayLike) -> NDArray[np.int64]:
    """Return where each of N runs of rows begins and ends: (N + 1,), from their lengths (N,)."""
    return np.concatenate([[0], np.cumsum(np.asarray(counts, dtype=np.int64))]).astype(np.int64)


def _check(path: Path, read: Map) -> None:
    """Refuse a map whose offsets and indices do not belong to its arrays."""
    sound = (
        are_offsets(read.feature_offsets, len(read.keypoints))
        and are_offsets(read.observation_offsets, len(read.observation_points))
        and _holds_images(read)
        and read.observation_points.max(initial=-1) < len(read.point_array)
    )
    if not sound:
        raise InputError(f"{path}: the map is damaged: its arrays do not fit; build it again")


def _holds_images(read: Map) -> bool:
    """Whether the images are whole, or absent where nothing says that they are there."""
    if read.image_offsets is None or read.image_bytes is None:
        return read.image_offsets is None and read.image_bytes is None and read.image_size is None
    return are_offsets(read.image_offsets, len(read.image_bytes))

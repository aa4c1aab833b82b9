"""Matches of TopicFM-fast with 3D points of PIN: the networks of the paper."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Query
from deviloc_ros.maps.map import Map
from deviloc_ros.models.published.deviloc import DeViLoc
from deviloc_ros.models.published.pin_geometry import ReferenceCamera
from deviloc_ros.models.published.preprocessing import (
    check_models,
    network_image,
    network_tensor,
    pin_intrinsics,
    reference_target,
)
from deviloc_ros.models.published.reference import (
    EncodedReference,
    ReferenceView,
    choose_observations,
)
from deviloc_ros.models.published.reference_files import ReferenceCache, ReferenceFiles, fingerprint
from deviloc_ros.models.weight_store import load_network

BYTES_PER_MB = 1_000_000


class TopicFmMatcher:
    """The published method from images to 2D-3D matches, with encoded references kept.

    With `behaviour: compat` keypoints are the published numbers, half a network pixel low in
    COLMAP's pixel convention; with `fix` they are in that convention.
    """

    def __init__(self, reference_map: Map, config: LocalizerConfig, device: torch.device) -> None:
        """Load the network; references are encoded when first used.

        Raises:
            InputError: the weights were not imported, the map holds no images for this matcher or
                smaller ones, or a reference camera is of a kind that PIN does not know.
        """
        settings = config.topicfm
        _check(reference_map, settings.image_size)
        self._map = reference_map
        self._settings = settings
        self._num_references = config.retrieval.num_references
        self._method = DeViLoc(
            load_network(),
            settings,
            device,
            settings.precision,
            backend=config.features.backend,
            graphs=config.cuda.graphs,
        )
        self._cache = ReferenceCache(settings.cache_mb * BYTES_PER_MB)
        self._files: ReferenceFiles | None = None
        if settings.cache_folder:
            folder = Path(settings.cache_folder)
            if not folder.is_dir():
                raise InputError(f"topicfm.cache_folder = {folder}: is not a folder; make it first")
            made_by = fingerprint(self._method.network, settings.behaviour, settings.precision)
            limit = settings.cache_folder_mb * BYTES_PER_MB
            self._files = ReferenceFiles(folder, made_by, limit)
        observed = np.diff(reference_map.observation_offsets)
        self.unusable: NDArray[np.int64] = np.flatnonzero(observed <= settings.min_observations)

    def __call__(
        self, query: Query, clusters: Sequence[NDArray[np.int64]], clock: StageClock
    ) -> Correspondences:
        """Match a query to references; the query's backbone runs once. See Matcher.

        References are reduced to the longer side of the reduced query, as published.
        """
        if query.image is None:
            raise ValueError("matcher topicfm needs the query's image, not only its features")
        references = np.concatenate(clusters)
        with clock("encode"):
            image, scale = _reduced(query.image, self._settings.image_size, query.camera)
            target = reference_target(image)
            of_query = self._method.encode_query(image, scale)
            encoded = [self._reference(int(index), target) for index in references]
        with clock("match"):
            lifted = self._method.match(of_query, encoded)
        return Correspondences(
            keypoints=_joined([part.query_keypoints for part in lifted]),
            points3d=_joined([part.points for part in lifted]),
            confidence=_joined([part.confidence for part in lifted]),
            reference=np.repeat(references, [len(part.points) for part in lifted]),
            reference_keypoints=_joined([part.reference_keypoints for part in lifted]),
        )

    def warm_up(self) -> None:
        """Match a reference with itself, as often as a query with references, on a GPU.

        It loads kernels at their first use, and records graphs for each number of references.

        On a CPU the first query is as slow as any other.
        """
        usable = np.setdiff1d(np.arange(len(self._map.references)), self.unusable)
        if self._method.device.type != "cuda" or not len(usable):
            return
        reference = self._reference(int(usable[0]), self._settings.image_size)
        self._method.match(reference.features, [reference] * self._num_references)

    def _reference(self, index: int, target: int) -> EncodedReference:
        """Return a reference encoded at a size: from memory, from disk, or made now."""
        return self._cache.get((index, target), lambda: self._loaded(index, target))

    def _loaded(self, index: int, target: int) -> EncodedReference:
        view = self._view(index, target)
        if self._files is None:
            return self._method.encode_reference(view)
        key = _content(view)
        reference = self._files.load(key, self._method.device)
        if reference is None:
            reference = self._method.encode_reference(view)
            self._files.save(key, reference)
        return reference

    def _view(self, index: int, target: int) -> ReferenceView:
        """Return a reference as the network takes it."""
        reference = self._map.references[index]
        image, scale = _reduced(self._map.image_of(index), target, reference.camera)
        stored = self._map.observations_of(index)
        chosen = stored.start + choose_observations(
            stored.stop - stored.start, self._settings.max_observations, seed=index
        )
        points = self._map.point_array[self._map.observation_points[chosen]]
        intrinsics, distortion = pin_intrinsics(reference.camera)
        return ReferenceView(
            image,
            scale,
            torch.from_numpy(self._map.observation_pixels[chosen].astype(np.float64)),
            torch.from_numpy(points.astype(np.float64) + self._map.origin),
            ReferenceCamera(
                torch.from_numpy(intrinsics),
                torch.from_numpy(reference.camera_from_map.matrix),
                torch.from_numpy(distortion),
            ),
        )


def _check(reference_map: Map, image_size: int) -> None:
    """Refuse a map without what the matcher needs of it."""
    source, stored = reference_map.source, reference_map.image_size
    if stored is None:
        raise InputError(
            f"{source}: matcher topicfm needs the reference images, which this map does not hold; "
            "build it again with 'deviloc map build --matcher topicfm', or use matcher xfeat"
        )
    if image_size > stored:
        raise InputError(
            f"{source}: topicfm.image_size = {image_size}: the map holds its images at {stored} "
            f"px; use at most that, or build it again with --set topicfm.image_size={image_size}"
        )
    check_models(
        (f"{source}: {reference.name}", reference.camera.model)
        for reference in reference_map.references
    )


def _reduced(
    image: NDArray[np.uint8], size: int, camera: Camera
) -> tuple[torch.Tensor, tuple[float, float]]:
    """Return an image as the network takes it, and original pixels per network pixel."""
    reduced, _ = network_image(image, size)
    height, width = reduced.shape
    return network_tensor(reduced), (camera.width / width, camera.height / height)


def _content(view: ReferenceView) -> str:
    """Return a name for everything that a reference's encoding is made from."""
    camera = view.camera
    digest = hashlib.sha256(repr((view.scale, tuple(view.image.shape))).encode())
    for tensor in (view.image, view.observations, view.points, camera.intrinsics,
                   camera.camera_from_map, camera.distortion):  # fmt: skip
        if tensor is not None:
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _joined(parts: list[torch.Tensor]) -> NDArray[np.float64]:
    return np.asarray(torch.cat(parts).double().cpu().numpy(), dtype=np.float64)

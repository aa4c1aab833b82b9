"""What others call: a map, and what localizes images in it. The method stands in `deviloc.py`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig, VerificationConfig
from deviloc_ros.errors import DamagedMapError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.batch import Asked, damaged, localize_batch
from deviloc_ros.localization.deviloc import localize_query
from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.query import Admitted, admit
from deviloc_ros.localization.rig.localize import localize_rig
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import (
    Correspondences,
    Localization,
    LocalizationFailure,
    PosePrior,
    Query,
)
from deviloc_ros.localization.warm_up import warm_up
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.open_map import open_map

# One estimates a pose while another waits for a device; more only wait for Python's lock.
POSE_THREADS = 2


class Localizer:
    """Localizes images in one map.

    The result is deterministic: the same image, map and configuration give the same pose. Several
    threads may call a localizer: it works for one after the other.
    """

    def __init__(self, reference_map: Map, config: LocalizerConfig | None = None) -> None:
        """Load the networks and the global descriptors of the map onto the device.

        Args:
            reference_map: the map, see `open_map`.
            config: None: the defaults.

        Raises:
            InputError: the weights or the device is not available, or the map lacks data that the
                matcher needs.
        """
        self._pipeline = Pipeline.of(reference_map, config or LocalizerConfig())
        self._warm_for = 0
        self._index = {reference.name: i for i, reference in enumerate(reference_map.references)}
        # Networks and their work memory are for one image at a time: those that find features, and
        # those that match them. Methods call each other.
        self._extracting, self._in_use = threading.Lock(), threading.RLock()
        # Of torch's own threads those of the pool use as many as the method does elsewhere.
        within = 1 if self._pipeline.openvino_alone else torch.get_num_threads()
        self._pool = ThreadPoolExecutor(POSE_THREADS, "poses", torch.set_num_threads, (within,))

    @staticmethod
    def load(map_path: str | Path, config: LocalizerConfig | None = None) -> Localizer:
        """Open a map file, or an index of tiles, and return a localizer that is warmed up.

        Args:
            map_path: a `.devmap` or `.devtiles` file.
            config: None: the defaults.

        Raises:
            InputError: the map, the weights or the device cannot be used.
        """
        tiles = config.tiles if config is not None else None
        localizer = Localizer(open_map(map_path, tiles), config)
        localizer.warm_up()
        return localizer

    @property
    def map(self) -> Map:
        """The map."""
        return self._pipeline.map

    @property
    def config(self) -> LocalizerConfig:
        """The current configuration."""
        return self._pipeline.config

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self._pipeline.extractor.device

    def warm_up(self, num_images: int = 1) -> None:
        """Compile the networks for batches of up to `num_images`, so that the first pose is fast.

        What was compiled before is not compiled again.
        """
        batches = range(self._warm_for + 1, num_images + 1)
        if batches:
            with self._extracting, self._in_use, self._pipeline.threads():
                warm_up(self._pipeline, self.localize_query, batches)
            self._warm_for = num_images

    def set_verification(self, limits: VerificationConfig) -> None:
        """Verify poses by other limits, from the next image on."""
        config = self.config.model_copy(update={"verification": limits})
        self._pipeline = replace(self._pipeline, config=config)

    def localize(
        self, image: NDArray[np.uint8], camera: Camera, prior: PosePrior | None = None
    ) -> Localization:
        """Localize one image.

        Args:
            image: (H, W) gray or (H, W, 3) RGB, uint8.
            camera: intrinsics of the image.
            prior: an approximate pose of the camera, if one is known.

        Returns:
            A `PoseEstimate`, or a `LocalizationFailure` with the reason.

        Raises:
            InputError: the image has another shape or type.
        """
        return self.localize_batch([image], [camera], [prior])[0]

    def localize_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        cameras: Sequence[Camera],
        priors: Sequence[PosePrior | None] | None = None,
        references: Sequence[Sequence[str] | None] | None = None,
    ) -> list[Localization]:
        """Localize several images; images of equal size run through the networks as one batch.

        On CUDA they are matched as one batch, too. Poses are estimated in several threads.

        Args:
            images: as for `localize`.
            cameras: intrinsics, one for each image.
            priors: one for each image, or None.
            references: for each image the names of references to match with, best first, or None:
                retrieval finds them. Names that the map does not hold are passed over.

        Returns:
            One result for each image, in the same order.

        Raises:
            InputError: an image has another shape or type.
        """
        return self.localize_admitted(self.admit(images, cameras), priors, references)

    def admit(self, images: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera]) -> Admitted:
        """Find the features of images: what can be done before any prior is known.

        Another thread may meanwhile localize what was admitted before.

        Args:
            images: as for `localize`; those of equal size run through the network as one batch.
            cameras: intrinsics, one for each image.

        Raises:
            InputError: an image has another shape or type.
        """
        with self._extracting, self._pipeline.threads():
            return admit(images, cameras, self._pipeline.extractor, self._clock())

    def localize_admitted(
        self,
        admitted: Admitted,
        priors: Sequence[PosePrior | None] | None = None,
        references: Sequence[Sequence[str] | None] | None = None,
    ) -> list[Localization]:
        """Localize what `admit` returned; see `localize_batch`."""
        count = len(admitted.cameras)
        expected = priors if priors is not None else [None] * count
        given = references if references is not None else [None] * count
        results: dict[int, Localization] = dict(admitted.refused)
        asked = {
            index: Asked(
                query,
                expected[index],
                admitted.clock.shared(len(admitted.queries)),
                self._indices(given[index]),
            )
            for index, query in admitted.queries.items()
        }
        with self._in_use, self._pipeline.threads():
            if len(asked) > 1:
                found = localize_batch(self._pipeline, list(asked.values()), self._pool)
                results.update(zip(asked, found, strict=True))
            for index, each in asked.items():
                if index not in results:
                    results[index] = self.localize_query(
                        each.query, each.prior, each.clock, None, each.candidates
                    )
        return [results[index] for index in range(count)]

    def localize_query(
        self,
        query: Query,
        prior: PosePrior | None = None,
        clock: StageClock | None = None,
        excluded: NDArray[np.int64] | None = None,
        candidates: NDArray[np.int64] | None = None,
    ) -> Localization:
        """Localize an image whose features are already extracted.

        Args:
            query: features, intrinsics and image.
            prior: an approximate pose of the camera, if one is known.
            clock: measures the time of each stage.
            excluded: indices of references that are not used.
            candidates: indices of references, best first, that replace retrieval.
        """
        clock = clock or self._clock()
        try:
            with self._in_use:
                self.map.check()
                return localize_query(self._pipeline, query, prior, clock, excluded, candidates)
        except DamagedMapError as error:
            return damaged(error, clock)

    def localize_rig(
        self,
        images: Sequence[NDArray[np.uint8]],
        cameras: Sequence[Camera],
        base_from_camera: Sequence[Transform],
        prior: PosePrior | None = None,
    ) -> RigEstimate | LocalizationFailure:
        """Localize the base of several cameras, from images that were taken at the same time.

        Args:
            images: one for each camera, as for `localize`; the views need not overlap.
            cameras: intrinsics; the camera models may differ.
            base_from_camera: extrinsics, one for each camera.
            prior: an approximate pose of the base, if one is known.

        Returns:
            A `RigEstimate`, or a `LocalizationFailure` with the reason.

        Raises:
            InputError: an image has another shape or type.
        """
        return self.localize_admitted_rig(self.admit(images, cameras), base_from_camera, prior)

    def localize_admitted_rig(
        self,
        admitted: Admitted,
        base_from_camera: Sequence[Transform],
        prior: PosePrior | None = None,
    ) -> RigEstimate | LocalizationFailure:
        """Localize the base from what `admit` returned; see `localize_rig`."""
        try:
            with self._in_use, self._pipeline.threads():
                self.map.check()
                return localize_rig(self._pipeline, admitted, base_from_camera, prior)
        except DamagedMapError as error:
            return damaged(error, admitted.clock)

    def _indices(self, names: Sequence[str] | None) -> NDArray[np.int64] | None:
        """Return the indices of those references of the map that are named, in that order."""
        if names is None:
            return None
        known = [self._index[name] for name in dict.fromkeys(names) if name in self._index]
        return np.array(known, dtype=np.int64)

    def match_and_lift(self, query: Query, references: NDArray[np.int64]) -> Correspondences:
        """Match a query with references (their indices), and return the 2D-3D matches."""
        return self._pipeline.match(query, [references], self._clock())

    def _clock(self) -> StageClock:
        return StageClock(self._pipeline.mark)

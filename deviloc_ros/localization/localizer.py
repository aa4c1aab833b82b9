"""What others call: a map, and what localizes images in it. The method stands in `deviloc.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig, VerificationConfig
from deviloc_ros.errors import DamagedMapError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.deviloc import localize_query
from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.query import admit
from deviloc_ros.localization.rig.localize import localize_rig
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    Localization,
    LocalizationFailure,
    PosePrior,
    Query,
)
from deviloc_ros.localization.warm_up import warm_up
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.tiled_map import open_map


class Localizer:
    """Localizes images against one map. Deterministic: one image and map give one pose."""

    def __init__(self, reference_map: Map, config: LocalizerConfig | None = None) -> None:
        """Load the networks and the map's global descriptors onto the device.

        Raises:
            InputError: the weights, the device, or what the matcher needs of the map is missing.
        """
        self._pipeline = Pipeline.of(reference_map, config or LocalizerConfig())
        self._warm_for = 0

    @staticmethod
    def load(map_path: str | Path, config: LocalizerConfig | None = None) -> Localizer:
        """Open a map file, or an index of tiles, and make a localizer that is warmed up.

        Raises:
            InputError: the map, the weights or the device cannot be used.
        """
        tiles = config.tiles if config is not None else None
        localizer = Localizer(open_map(map_path, tiles), config)
        localizer.warm_up()
        return localizer

    @property
    def map(self) -> Map:
        """What is localized against."""
        return self._pipeline.map

    @property
    def config(self) -> LocalizerConfig:
        """What it was made with, and what was set since."""
        return self._pipeline.config

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self._pipeline.extractor.device

    def warm_up(self, num_images: int = 1) -> None:
        """Compile what is compiled at first use, for up to so many images at a time.

        The first pose of a robot is then as quick as any other. What was warmed up before is not
        warmed up again.
        """
        batches = range(self._warm_for + 1, num_images + 1)
        if batches:
            with self._pipeline.threads():
                warm_up(self._pipeline, self.localize_query, batches)
            self._warm_for = num_images

    def set_verification(self, limits: VerificationConfig) -> None:
        """Believe poses by other limits from the next image on."""
        config = self.config.model_copy(update={"verification": limits})
        self._pipeline = replace(self._pipeline, config=config)

    def localize(
        self, image: NDArray[np.uint8], camera: Camera, prior: PosePrior | None = None
    ) -> Localization:
        """Localize one image: (H, W) gray or (H, W, 3) RGB, uint8."""
        return self.localize_batch([image], [camera], [prior])[0]

    def localize_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        cameras: Sequence[Camera],
        priors: Sequence[PosePrior | None] | None = None,
    ) -> list[Localization]:
        """Localize several images; the networks see them as one batch where sizes agree."""
        expected = priors if priors is not None else [None] * len(images)
        clock = StageClock()
        with self._pipeline.threads():
            with clock("extract"):
                admitted = admit(images, cameras, self._pipeline.extractor)
            results: dict[int, Localization] = dict(admitted.refused)
            for index, query in admitted.queries.items():
                own = clock.shared(len(admitted.queries))
                results[index] = self.localize_query(query, expected[index], own)
        return [results[index] for index in range(len(images))]

    def localize_query(
        self,
        query: Query,
        prior: PosePrior | None = None,
        clock: StageClock | None = None,
        excluded: NDArray[np.int64] | None = None,
    ) -> Localization:
        """Localize an image whose features are known, without the `excluded` references."""
        clock = clock or StageClock()
        try:
            self.map.check()
            return localize_query(self._pipeline, query, prior, clock, excluded)
        except DamagedMapError as error:
            return LocalizationFailure(FailureReason.DAMAGED_MAP, str(error), clock.seconds)

    def localize_rig(
        self,
        images: Sequence[NDArray[np.uint8]],
        cameras: Sequence[Camera],
        base_from_camera: Sequence[Transform],
        prior: PosePrior | None = None,
    ) -> RigEstimate | LocalizationFailure:
        """Localize the base that several cameras sit on, by images of one instant.

        Args:
            images: one a camera, as for `localize`; they need not overlap.
            cameras: intrinsics, each of its own model.
            base_from_camera: where each camera sits.
            prior: where the base is thought to be.
        """
        clock = StageClock()
        try:
            self.map.check()
            with self._pipeline.threads():
                return localize_rig(self._pipeline, images, cameras, base_from_camera, prior, clock)
        except DamagedMapError as error:
            return LocalizationFailure(FailureReason.DAMAGED_MAP, str(error), clock.seconds)

    def match_and_lift(self, query: Query, references: NDArray[np.int64]) -> Correspondences:
        """Match a query to references, all in one batch, and give every match its 3D point."""
        return self._pipeline.match(query, references, StageClock())

"""Localize the queries of a place: each by itself, several in one pass, or a rig's together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.benchmark.types import BenchmarkQuery, RigImage
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import read_gray
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.rig.types import CameraView, RigEstimate
from deviloc_ros.localization.types import (
    FailureReason,
    Localization,
    LocalizationFailure,
    PoseEstimate,
)
from deviloc_ros.offline.image_folder import LocalizedImage, localize_folder
from deviloc_ros.robot.base_pose import base_pose


@dataclass(frozen=True)
class Unit:
    """Queries that are localized at once.

    Attributes:
        queries: at least one.
        rig: images of one instant, those of the queries among them, where they belong to a rig.
    """

    queries: Sequence[BenchmarkQuery]
    rig: Sequence[RigImage] = ()


def units_of(
    queries: Sequence[BenchmarkQuery],
    rigs: Mapping[str, Sequence[RigImage]],
    at_once: int,
) -> list[Unit]:
    """Divide queries into units.

    Args:
        queries: of a place.
        rigs: the images of a query's instant, by its name; empty: no rig is used.
        at_once: queries that go through the networks in one pass, where no rig is used.
    """
    if not rigs:
        return [Unit(queries[i : i + at_once]) for i in range(0, len(queries), at_once)]
    together: dict[tuple[str, ...], list[BenchmarkQuery]] = {}
    for query in queries:
        names = tuple(image.name for image in rigs[query.name])
        together.setdefault(names, []).append(query)
    return [Unit(tuple(unit), rigs[unit[0].name]) for unit in together.values()]


@dataclass(frozen=True)
class LocalizeUnits:
    """Makes what localizes units in a map.

    Attributes:
        map_path: of the map.
        config: of the localizer.
        images: folder of the queries' images.
        pairs: references of the queries, by name; None: retrieval finds them.
    """

    map_path: Path
    config: LocalizerConfig
    images: Path
    pairs: Mapping[str, Sequence[str]] | None

    def __call__(self) -> Callable[[Unit], list[LocalizedImage]]:
        """Open the map."""
        localizer = Localizer.load(self.map_path, self.config)

        def localize(unit: Unit) -> list[LocalizedImage]:
            if len(unit.rig) > 1:
                return list(_localize_rig(localizer, self.images, unit))
            cameras = {query.name: query.camera for query in unit.queries}
            found = localize_folder(localizer, self.images, cameras, len(cameras), self.pairs)
            return list(found)

        return localize


def _localize_rig(localizer: Localizer, folder: Path, unit: Unit) -> Iterator[LocalizedImage]:
    """Localize images of one instant together; an image that cannot be read is left out."""
    images: list[NDArray[np.uint8]] = []
    cameras: dict[str, Camera] = {}
    unread: dict[str, LocalizationFailure] = {}
    for item in unit.rig:
        try:
            image = read_gray(folder / item.name)
            cameras[item.name] = item.camera.fitted_to(*image.shape[::-1])
            images.append(image)
        except InputError as error:
            unread[item.name] = LocalizationFailure(FailureReason.BAD_IMAGE, str(error))
    mounted = {item.name: item.base_from_camera for item in unit.rig if item.name in cameras}
    found: RigEstimate | LocalizationFailure | None = None
    if images:
        found = localizer.localize_rig(images, list(cameras.values()), list(mounted.values()))
    views = dict(zip(cameras, found.views, strict=True)) if isinstance(found, RigEstimate) else {}
    for query in unit.queries:
        camera = cameras.get(query.name, query.camera)
        result: Localization | None = unread.get(query.name)
        if result is None and isinstance(found, RigEstimate):
            result = _of_camera(found, views[query.name])
        elif result is None:
            assert isinstance(found, LocalizationFailure)
            result = found
        yield LocalizedImage(query.name, camera, camera != query.camera, result)


def _of_camera(rig: RigEstimate, view: CameraView) -> PoseEstimate:
    """Return the pose of one camera of a rig."""
    camera_from_base = view.camera_from_map @ rig.map_from_base
    covariance = base_pose(rig.map_from_base, rig.covariance, camera_from_base).covariance
    return PoseEstimate(
        view.camera_from_map, covariance, view.correspondences, view.inliers,
        view.correspondences, view.references, rig.stage_seconds, way=rig.way,
    )  # fmt: skip

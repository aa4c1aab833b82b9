"""From a reconstruction and dense features to the arrays and reduced images of a map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray

from deviloc_ros import __version__
from deviloc_ros.cluster.workers import THIS_PROCESS, Workers
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import pose_of
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import read_gray
from deviloc_ros.lifting.geometric import (
    LiftedKeypoints,
    ReferenceView,
    lift,
)
from deviloc_ros.lifting.learned import make_inference
from deviloc_ros.localization.features import LEVELS
from deviloc_ros.localization.photometric.aligner import reduced_to
from deviloc_ros.localization.types import Features
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.descriptor_codes import encoded
from deviloc_ros.maps.map import Map, offsets_of
from deviloc_ros.maps.reference import Reference
from deviloc_ros.models.published.preprocessing import network_image

# 40 % fewer bytes than JPEG of quality 92; errors of 1.8 instead of 1.3 gray values change no pose
# (docs/speed.md).
WEBP_QUALITY = 88


@dataclass(frozen=True)
class KnownPoints:
    """Points that an image sees.

    Attributes:
        pixels: (N, 2) float64, where.
        points: (N, 3) float64, map frame.
    """

    pixels: NDArray[np.float64]
    points: NDArray[np.float64]


NO_POINTS = KnownPoints(np.zeros((0, 2)), np.zeros((0, 3)))


def store_images(
    reference_map: Map, folder: Path, config: LocalizerConfig, workers: Workers = THIS_PROCESS
) -> Map:
    """Return the map with its images.

    Matches are aligned by them (localization/photometric/aligner.py); they are of the working size
    (`features.max_size`), as WebP. For matcher topicfm they are as its network sees them, without
    loss, reduced to `topicfm.image_size`, the size they usually are used at. A query smaller than
    that makes the network take smaller references too. They are then reduced a second time, where
    the published code reduces the original; build a map for such a camera with its own
    `topicfm.image_size`.

    Args:
        reference_map: the map.
        folder: where its images lie.
        config: the localizer that the map is for.
        workers: who reduces and encodes images.

    Raises:
        InputError: an image cannot be read any more.
    """
    names = [reference.name for reference in reference_map.references]
    parts = list(workers.map(ReduceImages(folder.resolve(), config), names, "images"))
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    size = config.topicfm.image_size if config.matching.matcher == "topicfm" else None
    return reference_map.with_images(size, offsets, np.concatenate(parts))


@dataclass(frozen=True)
class ReduceImages:
    """Makes what reduces and encodes images of a folder by name."""

    folder: Path
    config: LocalizerConfig

    def __call__(self) -> Callable[[str], NDArray[np.uint8]]:
        """Return it."""
        for_topicfm = self.config.matching.matcher == "topicfm"

        def reduced(name: str) -> NDArray[np.uint8]:
            image = read_gray(self.folder / name)
            if for_topicfm:
                return _encoded(network_image(image, self.config.topicfm.image_size)[0], ".png")
            return _encoded(reduced_to(image, self.config.features.max_size), ".webp")

        return reduced


def _encoded(image: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    quality = [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY] if kind == ".webp" else []
    return np.asarray(cv2.imencode(kind, image, quality)[1], dtype=np.uint8).ravel()


def assemble(
    reconstruction: pycolmap.Reconstruction,
    features: Mapping[str, Features],
    codebook: NDArray[np.float32],
    global_descriptors: Mapping[str, torch.Tensor],
    unregistered: Mapping[str, str],
    config: LocalizerConfig,
    metric: bool,
    gravity_aligned: bool,
    known: Mapping[str, KnownPoints] | None = None,
    workers: Workers = THIS_PROCESS,
) -> Map:
    """Lift every feature of every registered image and put the map together, not yet calibrated.

    Args:
        reconstruction: poses, cameras and SfM points.
        features: of each image, by name.
        codebook: (C, D), words of the global descriptors.
        global_descriptors: (C * D,) of each image, by name.
        unregistered: image name to why it is not in the map.
        config: the localizer's configuration.
        metric: whether the reconstruction is in metres.
        gravity_aligned: whether its z points up.
        known: points besides those of the reconstruction that images see, by name: features are
            lifted by them too. They are not among the map's points.
        workers: who lifts.
    """
    point_ids = sorted(reconstruction.points3D)
    index_of = {point_id: i for i, point_id in enumerate(point_ids)}
    points = np.array([reconstruction.points3D[i].xyz for i in point_ids]).reshape(-1, 3)
    references: list[Reference] = []
    views: list[ReferenceView] = []
    seen: list[NDArray[np.int32]] = []
    observed_at: list[NDArray[np.float64]] = []
    images = {image.name: image for image in reconstruction.images.values() if image.has_pose}
    for name in sorted(images.keys() & features.keys()):
        image = images[name]
        pose = pose_of(image)
        camera = Camera.from_pycolmap(reconstruction.cameras[image.camera_id])
        observed = [point for point in image.points2D if point.has_point3D()]
        ids = np.array([index_of[point.point3D_id] for point in observed], dtype=np.int32)
        pixels = np.array([point.xy for point in observed], dtype=np.float64).reshape(-1, 2)
        references.append(Reference(name, camera, pose))
        own = KnownPoints(pixels, points[ids])
        more = (known or {}).get(name, NO_POINTS)
        views.append(
            ReferenceView(
                camera, pose,
                np.concatenate([own.pixels, more.pixels]),
                np.concatenate([own.points, more.points]),
            )
        )  # fmt: skip
        seen.append(ids)
        observed_at.append(pixels)
    chosen = [features[reference.name] for reference in references]
    keypoints = [item.keypoints.numpy() for item in chosen]
    pairs = list(zip(views, keypoints, strict=True))
    lifted = list(workers.map(LiftKeypoints(config), pairs, "lifting"))
    centres = np.array([r.camera_from_map.inverse().translation for r in references])
    origin = np.round(np.median(centres, axis=0))
    return Map(
        references=references,
        feature_offsets=offsets_of([len(item) for item in chosen]),
        keypoints=torch.cat([item.keypoints for item in chosen]).numpy(),
        descriptors=np.concatenate([encoded(item.descriptors).numpy() for item in chosen]),
        levels=torch.cat([item.levels for item in chosen]).numpy(),
        feature_points=np.concatenate(
            [item.points3d - origin for item in lifted], dtype=np.float32
        ),
        confidence=np.concatenate([item.confidence for item in lifted]).astype(np.float16),
        depth_sigma=np.concatenate([item.depth_sigma for item in lifted]).astype(np.float16),
        global_descriptors=np.stack(
            [global_descriptors[reference.name].numpy() for reference in references]
        ).astype(np.float16),
        codebook=codebook,
        point_array=(points - origin).astype(np.float32),
        observation_offsets=offsets_of([len(ids) for ids in seen]),
        observation_points=np.concatenate(seen),
        observation_pixels=np.concatenate(observed_at).astype(np.float32),
        origin=origin,
        metric=metric,
        gravity_aligned=gravity_aligned,
        calibration=Calibration(np.zeros((len(LEVELS), 2))),
        unregistered=dict(unregistered),
        meta={
            "program": f"deviloc_ros {__version__}",
            "matcher": config.matching.matcher,
            "features": config.features.model_dump(),
            "lifting": config.lifting.model_dump(),
            "observed_share": float(np.concatenate([item.observed for item in lifted]).mean()),
        },
    )


@dataclass(frozen=True)
class LiftKeypoints:
    """Makes what lifts keypoints (N, 2) float32 of a view."""

    config: LocalizerConfig

    def __call__(self) -> Callable[[tuple[ReferenceView, NDArray[np.float32]]], LiftedKeypoints]:
        """Load the network, if lifting is learned."""
        infer = make_inference(self.config)

        def lifted(item: tuple[ReferenceView, NDArray[np.float32]]) -> LiftedKeypoints:
            view, keypoints = item
            reduction = view.camera.reduction_to(self.config.features.max_size)
            radius = self.config.lifting.observed_radius * reduction
            return lift(view, keypoints.astype(np.float64), radius, infer)

        return lifted

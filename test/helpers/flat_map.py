"""A map of one flat board whose depths are known: made in a second, without COLMAP."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import wall_map

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.features import LEVELS, FeatureExtractor
from deviloc_ros.localization.retrieval.global_descriptor import (
    describe,
    make_codebook,
    sample_descriptors,
)
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.descriptor_codes import encoded
from deviloc_ros.maps.map import Map, offsets_of
from deviloc_ros.maps.reference import Reference
from deviloc_ros.simulation.wall import Board

CAMERA = wall_map.CAMERA
BOARD = Board(seed=5, left=-8.0, right=8.0, bottom=-4.0, top=6.0, y=5.0)
SETTINGS = {
    "features.max_size": 480,
    "features.num_keypoints": 512,
    "features.backend": "torch",
    "matching.num_matches": 200,
    "device": "cpu",
}
SHARED_POINTS = 20


def pose(x: float, yaw: float = 0.0) -> Transform:
    """Return map_from_camera in front of the board."""
    return wall_map.map_from_base(x, yaw=yaw) @ wall_map.BASE_FROM_CAMERA


def view(map_from_camera: Transform) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return the image that CAMERA takes."""
    return wall_map.view(map_from_camera, (BOARD,))


def flat_map(references: int = 3, drop: int = 37) -> Map:
    """Return a map whose references lack `drop` features each more than the one before.

    References have different numbers of features then, and an origin far away.
    """
    poses = [pose(0.8 * (i - (references - 1) / 2), 5.0 * (-1) ** i) for i in range(references)]
    images = [view(each) for each in poses]
    extractor = FeatureExtractor(build(LocalizerConfig, SETTINGS, "test"))
    features = extractor.extract(images)
    kept = [slice(i * drop, None) for i in range(references)]
    keypoints = [np.asarray(f.keypoints)[rows] for f, rows in zip(features, kept, strict=True)]
    descriptors = [
        np.asarray(encoded(f.descriptors))[rows] for f, rows in zip(features, kept, strict=True)
    ]
    codebook = make_codebook(sample_descriptors(descriptors, 0), 0)
    origin = np.array([10.0, -20.0, 3.0])
    points = []
    for map_from_camera, places in zip(poses, keypoints, strict=True):
        eye = map_from_camera.translation
        rays = map_from_camera.apply(CAMERA.rays(places.astype(np.float64))) - eye
        points.append(eye + rays * ((BOARD.y - eye[1]) / rays[:, 1])[:, None])
    count = sum(map(len, keypoints))
    observed = np.tile(np.arange(SHARED_POINTS, dtype=np.int32), references)
    files = [cv2.imencode(".png", image)[1].ravel() for image in images]
    confidence = np.random.default_rng(0).choice([0.2, 0.9, 1.0], count, p=[0.1, 0.3, 0.6])
    flat = Map(
        references=[Reference(f"{i}.png", CAMERA, each.inverse()) for i, each in enumerate(poses)],
        feature_offsets=offsets_of([len(each) for each in keypoints]),
        keypoints=np.concatenate(keypoints),
        descriptors=np.concatenate(descriptors),
        levels=np.concatenate(
            [np.asarray(f.levels)[rows] for f, rows in zip(features, kept, strict=True)]
        ),
        feature_points=(np.concatenate(points) - origin).astype(np.float32),
        confidence=confidence.astype(np.float16),
        global_descriptors=np.stack(
            [np.asarray(describe(f, torch.from_numpy(codebook))) for f in features]
        ).astype(np.float16),
        codebook=codebook,
        point_array=(np.concatenate(points)[:SHARED_POINTS] - origin).astype(np.float32),
        observation_offsets=offsets_of([SHARED_POINTS] * references),
        observation_points=observed,
        observation_pixels=np.zeros((len(observed), 2), np.float32),
        origin=origin,
        metric=True,
        gravity_aligned=True,
        calibration=Calibration(
            np.array([[0.1, -0.05], [-0.1, 0.05]]), offset_pull=np.full((len(LEVELS), 2), 0.05)
        ),
        depth_sigma=np.full(count, 0.01, np.float16),
    )
    return flat.with_images(None, offsets_of(list(map(len, files))), np.concatenate(files))

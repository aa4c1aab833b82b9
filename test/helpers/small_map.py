"""A small map of random numbers."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

CAMERA = Camera("OPENCV", 640, 480, (500.0, 510.0, 320.0, 240.0, 0.1, 0.0, 1 / 3, 0.0))


def small_map(seed: int = 0, references: int = 3, features: int = 5) -> Map:
    generator = np.random.default_rng(seed)
    count, points = references * features, 20
    return Map(
        references=[
            Reference(
                f"folder/{i} ä.jpg",
                CAMERA,
                Transform(Rotation.random(rng=generator), generator.normal(0, 1e5, 3)),
            )
            for i in range(references)
        ],
        feature_offsets=np.arange(references + 1, dtype=np.int64) * features,
        keypoints=generator.uniform(0, 400, (count, 2)).astype(np.float32),
        descriptors=generator.normal(size=(count, 64)).astype(np.float16),
        levels=generator.integers(0, 2, count).astype(np.uint8),
        feature_points=generator.normal(size=(count, 3)).astype(np.float32),
        confidence=generator.uniform(0, 1, count).astype(np.float16),
        global_descriptors=generator.normal(size=(references, 128)).astype(np.float16),
        codebook=generator.normal(size=(2, 64)).astype(np.float32),
        point_array=generator.normal(size=(points, 3)).astype(np.float32),
        observation_offsets=np.arange(references + 1, dtype=np.int64) * 4,
        observation_points=generator.integers(0, points, references * 4).astype(np.int32),
        observation_pixels=generator.uniform(0, 400, (references * 4, 2)).astype(np.float32),
        origin=np.array([5e5, -5e6, 12.0]),
        metric=True,
        gravity_aligned=False,
        calibration=Calibration(
            np.array([[0.1, -0.2], [1 / 3, 0.0]]), 2.5, 3.5, np.array([[0.0, -0.3], [0.1, 0.0]])
        ),
        unregistered={"b.jpg": "blurred"},
        meta={"program": "test"},
    )

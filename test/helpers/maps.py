"""Maps of nothing: random features, for what matters to the node's process and not to poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.descriptor_codes import encoded
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

CAMERA = Camera("PINHOLE", 320, 240, (300.0, 300.0, 160.0, 120.0))


def write_random_map(path: Path, references: int, features: int, words: int = 64) -> Path:
    """Write a metric map, z up, whose references stand in a row and look along x.

    Args:
        path: the file.
        references: how many; a second's load time per ten thousand or so.
        features: of each.
        words: of the codebook.
    """
    generator = np.random.default_rng(0)
    count = references * features
    looking_ahead = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    descriptors = torch.from_numpy(2 * generator.normal(size=(count, 64)))
    descriptions = _unit(generator.normal(size=(references, words * 64)))
    points, observed = 500, 20
    Map(
        references=[
            Reference(f"{i}.png", CAMERA, Transform(looking_ahead, np.array([i, 0, 0])).inverse())
            for i in range(references)
        ],
        feature_offsets=np.arange(references + 1, dtype=np.int64) * features,
        keypoints=generator.uniform(0, (320, 240), (count, 2)).astype(np.float32),
        descriptors=encoded(descriptors).numpy(),
        levels=generator.integers(0, 2, count).astype(np.uint8),
        feature_points=generator.uniform(-20, 20, (count, 3)).astype(np.float32),
        confidence=np.ones(count, np.float16),
        global_descriptors=descriptions.astype(np.float16),
        codebook=_unit(generator.normal(size=(words, 64))).astype(np.float32),
        point_array=generator.uniform(-20, 20, (points, 3)).astype(np.float32),
        observation_offsets=np.arange(references + 1, dtype=np.int64) * observed,
        observation_points=generator.integers(0, points, references * observed).astype(np.int32),
        observation_pixels=np.zeros((references * observed, 2), np.float32),
        origin=np.array([100.0, 200.0, 0.0]),
        metric=True,
        gravity_aligned=True,
        calibration=Calibration(np.zeros((2, 2))),
    ).save(path)
    return path


def _unit(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

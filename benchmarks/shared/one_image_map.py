"""A map of one image and no geometry, for stages that match with references of a map."""

from __future__ import annotations

import numpy as np

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.features import LEVELS
from deviloc_ros.localization.types import Features
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.descriptor_codes import encoded
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference


def map_of(features: Features, size: tuple[int, int]) -> Map:
    """Return a map whose only reference has these features.

    Args:
        features: of the image.
        size: its width and height, pixels.
    """
    count, (width, height) = len(features), size
    focal = float(max(size))
    camera = Camera("SIMPLE_PINHOLE", width, height, (focal, width / 2, height / 2))
    descriptors = encoded(features.descriptors.cpu()).numpy()
    return Map(
        references=[Reference("image", camera, Transform.identity())],
        feature_offsets=np.array([0, count]),
        keypoints=features.keypoints.cpu().numpy(),
        descriptors=descriptors,
        levels=features.levels.cpu().numpy(),
        feature_points=np.ones((count, 3), np.float32),
        confidence=np.ones(count, np.float16),
        global_descriptors=np.zeros((1, 1), np.float16),
        codebook=np.zeros((1, descriptors.shape[1]), np.float32),
        point_array=np.zeros((0, 3), np.float32),
        observation_offsets=np.zeros(2, np.int64),
        observation_points=np.zeros(0, np.int32),
        observation_pixels=np.zeros((0, 2), np.float32),
        origin=np.zeros(3),
        metric=False,
        gravity_aligned=False,
        calibration=Calibration(np.zeros((len(LEVELS), 2))),
    )

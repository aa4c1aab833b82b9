"""Several threads may call one localizer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import wall_map as wall

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.types import PoseEstimate


def test_threads_get_the_poses_that_one_gets_alone(wall_map_path: Path) -> None:
    config = build(LocalizerConfig, wall.SETTINGS, "test")
    localizer = Localizer.load(wall_map_path, config)
    images = [
        wall.view(wall.map_from_base(x, yaw=3.0) @ wall.BASE_FROM_CAMERA) for x in (-1.5, 0.4, 1.2)
    ]
    alone = [localizer.localize(image, wall.CAMERA) for image in images]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda image: localizer.localize(image, wall.CAMERA), images * 3))
    for index, found in enumerate(together):
        expected = alone[index % 3]
        assert isinstance(expected, PoseEstimate)
        assert isinstance(found, PoseEstimate)
        np.testing.assert_array_equal(found.camera_from_map.matrix, expected.camera_from_map.matrix)

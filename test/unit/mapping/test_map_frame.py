"""A map brought into another frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_map import small_map

from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.mapping.map_frame import transform_map


@pytest.mark.filterwarnings("error")
def test_points_that_are_nowhere_stay_so_without_a_warning() -> None:
    reference_map = small_map()
    points = reference_map.feature_points.copy()
    points[0], points[1], points[2, 0] = np.inf, np.nan, -np.inf
    turned = Similarity(2.0, Rotation.from_euler("z", 90, degrees=True), np.zeros(3))
    moved = transform_map(
        replace(reference_map, feature_points=points), turned, metric=True, gravity_aligned=False
    )
    assert not np.isfinite(moved.feature_points[:3]).all(axis=1).any()
    expected = np.column_stack([-points[3:, 1], points[3:, 0], points[3:, 2]]) * 2
    np.testing.assert_allclose(moved.feature_points[3:], expected, rtol=1e-5, atol=1e-5)

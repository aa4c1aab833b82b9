"""Images of a wall that looks the same every two metres: a pose is right, or there is none."""

from __future__ import annotations

import numpy as np
import pytest
import wall_map
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig, VerificationConfig, build
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import FailureReason, Localization, PoseEstimate
from deviloc_ros.simulation import wall

PLACES = (-2.7, -2.1, -1.6, -0.4, 0.2, 0.7, 1.5, 2.4)
WITHOUT_DOUBT = VerificationConfig(max_log10_false_alarms=300, max_rival_chance=1)


def place(x: float) -> Transform:
    return wall.before_the_wall(x, yaw=3.0) @ wall_map.BASE_FROM_CAMERA


def by_night(image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return an image with a tenth of the light, and the noise that comes with it."""
    noise = np.random.default_rng(seed).normal(0, 3, image.shape)
    return np.clip(255 * (image / 255) ** 1.5 * 0.2 + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def localizer(tmp_path_factory: pytest.TempPathFactory) -> Localizer:
    path = wall_map.write_map(tmp_path_factory.mktemp("alike"), wall.ALIKE)
    return Localizer.load(path, build(LocalizerConfig, wall_map.SETTINGS, "test"))


def localized(localizer: Localizer, limits: VerificationConfig) -> dict[float, Localization]:
    localizer.set_verification(limits)
    images = {x: wall_map.view(place(x), wall.ALIKE) for x in PLACES}
    return {
        x: localizer.localize(by_night(image, seed), wall_map.CAMERA)
        for seed, (x, image) in enumerate(images.items())
    }


def periods_off(x: float, result: PoseEstimate) -> int:
    distance, _ = result.map_from_camera.distance_to(place(x))
    return round(distance / wall.ALIKE_PERIOD)


def test_no_pose_is_a_period_off(localizer: Localizer) -> None:
    before = localized(localizer, WITHOUT_DOUBT)
    assert any(isinstance(r, PoseEstimate) and periods_off(x, r) for x, r in before.items())
    now = localized(localizer, VerificationConfig())
    believed = {x: r for x, r in now.items() if isinstance(r, PoseEstimate)}
    assert not [x for x, result in believed.items() if periods_off(x, result)]
    reasons = [r.reason for r in now.values() if not isinstance(r, PoseEstimate)]
    assert {FailureReason.AMBIGUOUS, FailureReason.CHANCE} & set(reasons)

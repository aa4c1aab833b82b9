"""What a map depends on, so that it is built again if that changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.mapping.given_model import OF_USE, inputs_of, settings_of_map


def inputs(*settings: str) -> str:
    """Return the inputs of a map of no files with these settings."""
    return inputs_of([], settings_of_map(load(LocalizerConfig, None, settings)))


@pytest.mark.parametrize(
    "setting",
    [
        "matching.context=always",
        "matching.cached_references=7",
        "pose.covariance_factor=2.0",
        "tiles.loaded=2",
    ],
)
def test_a_setting_of_use_keeps_the_map(setting: str) -> None:
    assert inputs(setting) == inputs()


@pytest.mark.parametrize(
    "setting",
    [
        "seed=1",
        "features.max_size=800",
        "matching.matcher=topicfm",
        "matching.num_matches=900",
        "lifting.neighbours=2",
        "pose.max_reprojection_error=3.0",
    ],
)
def test_any_other_setting_asks_for_another_map(setting: str) -> None:
    assert inputs(setting) != inputs()


def test_a_changed_file_asks_for_another_map(tmp_path: Path) -> None:
    path = tmp_path / "images.txt"
    path.write_text("1")
    before = inputs_of([path])
    path.write_text("12")
    assert inputs_of([path]) != before


def test_settings_of_use_exist() -> None:
    content = LocalizerConfig().model_dump()
    for section, keys in OF_USE.items():
        assert keys <= content[section].keys()

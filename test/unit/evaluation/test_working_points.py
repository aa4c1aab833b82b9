"""The parameter files are the working points that the benchmark measures."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from working_points import POINTS

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.schema import load

CONFIG = Path(__file__).resolve().parents[3] / "config"


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


@pytest.mark.parametrize("name", ["balanced", "fast", "small"])
def test_a_parameter_file_is_the_point_of_its_name(name: str) -> None:
    text = (CONFIG / f"one_camera_{name}.yaml").read_text(encoding="utf-8")
    values = flat(yaml.safe_load(text)["/**"]["ros__parameters"])
    measured = load(LocalizerConfig, None, POINTS[name].settings())
    assert load(LocalizerConfig, None, [f"{k}={v}" for k, v in values.items()]) == measured


def test_the_first_point_is_the_default() -> None:
    assert load(LocalizerConfig, None, POINTS["default"].settings()) == LocalizerConfig()

"""The layouts for RViz and Foxglove show topics that there are, as what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deviloc_ros.ros.launch.arguments import SHOWN

CONFIG = Path(__file__).resolve().parents[3] / "config"
DISPLAYS = {
    "PointCloud2": "sensor_msgs/msg/PointCloud2",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "Path": "nav_msgs/msg/Path",
    "Image": "sensor_msgs/msg/Image",
}
LATCHED = {"map_points", "references", "path"}


def test_rviz_shows_everything_with_the_right_display_and_quality_of_service() -> None:
    layout = yaml.safe_load((CONFIG / "localization.rviz").read_text(encoding="utf-8"))
    displays = layout["Visualization Manager"]["Displays"]
    seen = {}
    for display in displays:
        if "Topic" not in display:
            continue
        kind = display["Class"].removeprefix("rviz_default_plugins/")
        name = display["Topic"]["Value"].removeprefix("/localization/")
        seen[name] = DISPLAYS[kind]
        latched = display["Topic"]["Durability Policy"] == "Transient Local"
        assert latched == (name in LATCHED), name
        assert display["Enabled"]
    # The status is text, for which RViz has no display.
    assert seen == {name: kind for name, kind in SHOWN.items() if name != "status"}
    tools = layout["Visualization Manager"]["Tools"]
    assert "/initialpose" in [tool.get("Topic", {}).get("Value") for tool in tools]


def panels(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    else:
        yield from panels(node["first"])
        yield from panels(node["second"])


def test_foxglove_arranges_the_panels_that_it_describes() -> None:
    layout = json.loads((CONFIG / "localization.foxglove.json").read_text(encoding="utf-8"))
    described = layout["configById"]
    assert sorted(panels(layout["layout"])) == sorted(described)
    scene = described["3D!deviloc"]
    assert set(scene["topics"]) == {
        f"/localization/{name}" for name in ("map_points", "references", "pose", "path")
    }
    assert scene["topics"]["/localization/pose"]["showCovariance"]
    assert described["Image!matches"]["imageMode"]["imageTopic"] == "/localization/debug_image"


@pytest.mark.parametrize("name", ["localization.rviz", "localization.foxglove.json"])
def test_layouts_name_no_topic_that_nobody_publishes(name: str) -> None:
    text = (CONFIG / name).read_text(encoding="utf-8")
    for word in text.replace('"', " ").split():
        if word.startswith("/localization/"):
            assert word.removeprefix("/localization/").partition(".")[0] in SHOWN, word

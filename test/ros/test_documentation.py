"""docs/ros-interface.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from interface_tables import (
    diagnostics_table,
    dynamic_sentence,
    mode_table,
    parameter_table,
    reason_table,
    service_table,
)
from robot import Robot

from deviloc_ros.config import build
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.node.services import SERVICES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "ros-interface.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "table",
    [
        parameter_table,
        diagnostics_table,
        reason_table,
        service_table,
        mode_table,
        dynamic_sentence,
    ],
)
def test_generated_tables_are_up_to_date(table) -> None:  # type: ignore[no-untyped-def]
    assert table() in DOCUMENT, "run ./run python tools/interface_tables.py and paste its tables"


def documented_topics(direction: str) -> set[tuple[str, str]]:
    rows = re.findall(r"^\| `(\S+)` \| `(\S+)` \| (in|out) \|", DOCUMENT, re.MULTILINE)
    return {
        (name.replace("~", "/localization") if name[0] in "~/" else f"/{name}", kind)
        for name, kind, way in rows
        if way == direction
    }


def until_the_graph_is_known(robot: Robot) -> None:
    """Wait until the peer has heard of the last things that the node makes, and a moment more."""
    robot.spin_until(
        lambda: (
            robot.peer.count_subscribers("/image") > 0
            or robot.peer.count_subscribers("/image/compressed") > 0
        )
    )
    robot.spin_until(
        lambda: (
            ("/localization/reload_map", ["std_srvs/srv/Trigger"])
            in robot.peer.get_service_names_and_types()
        )
    )
    robot.spin_until(lambda: "localization" in robot.peer.get_node_names())
    by_node = robot.peer.get_service_names_and_types_by_node
    robot.spin_until(lambda: len(by_node("localization", "/")) > 3)
    robot.spin(0.5)


def test_topics_are_those_of_the_running_node(robot: Robot) -> None:
    own_of_rclpy = {"/rosout", "/parameter_events", "/clock"}
    seen_in: set[tuple[str, str]] = set()
    seen_out: set[tuple[str, str]] = set()
    for transport in ("raw", "compressed"):
        node = robot.add_node(image__transport=transport, gnss__enabled=True)
        assert node.start()

        def topics(publishers: bool) -> set[tuple[str, str]]:
            by_node = (
                robot.peer.get_publisher_names_and_types_by_node
                if publishers
                else robot.peer.get_subscriber_names_and_types_by_node
            )
            return {
                (name, kinds[0])
                for name, kinds in by_node("localization", "/")
                if name not in own_of_rclpy and not name.endswith("transition_event")
            }

        until_the_graph_is_known(robot)
        seen_out |= topics(publishers=True)
        seen_in |= topics(publishers=False)
        robot.executor.remove_node(node)
        node.destroy_node()
        robot.spin(0.3)
    assert seen_in == documented_topics("in")
    assert seen_out == documented_topics("out")


def test_services_are_those_of_the_running_node(robot: Robot) -> None:
    node = robot.add_node()
    assert node.start()
    until_the_graph_is_known(robot)
    found = robot.peer.get_service_names_and_types_by_node("localization", "/")
    own = {
        (name.replace("/localization", "~"), kinds[0])
        for name, kinds in found
        if not kinds[0].startswith(("rcl_interfaces/", "lifecycle_msgs/", "type_description"))
    }
    assert own == {(name, kind) for name, (kind, _) in SERVICES.items()}


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_parameter_files_are_valid(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    build(NodeConfig, content["/**"]["ros__parameters"], str(path))

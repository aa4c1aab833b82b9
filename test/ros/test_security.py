"""The SROS 2 policy allows what the running node does on the graph, and nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from pathlib import Path

from robot import Robot

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / "examples" / "security" / "policy.xml"
NODE = "localization"
OPTIONAL = {"/clock", "/parameter_events", f"/{NODE}/get_type_description"}
"""Which of them a node has depends on the release of ROS, and /clock on use_sim_time."""


def allowed(kind: str, right: str) -> set[str]:
    """Return the absolute names for which the policy gives a right, by SROS 2's rule of names."""
    profile = ElementTree.parse(POLICY).find("./enclaves/enclave/profiles/profile")
    assert profile is not None
    assert (profile.get("ns"), profile.get("node")) == ("/", NODE)
    names = [
        (item.text or "").strip()
        for group in profile.findall(kind)
        if group.get(right) == "ALLOW"
        for item in group
    ]
    assert len(names) == len(set(names)), "a name comes twice"
    return {name if name.startswith("/") else f"/{name.replace('~', NODE)}" for name in names}


def test_the_policy_is_that_of_the_running_node(robot: Robot) -> None:
    node = robot.add_node(debug__publish_image=True)
    assert node.start()
    peer = robot.peer
    found: dict[str, set[str]] = {}

    def is_known() -> bool:
        """Look, and return whether as much is known as the policy names."""
        if NODE not in peer.get_node_names():
            return False
        found["reply"] = {n for n, _ in peer.get_service_names_and_types_by_node(NODE, "/")}
        found["publish"] = {n for n, _ in peer.get_publisher_names_and_types_by_node(NODE, "/")}
        found["subscribe"] = {n for n, _ in peer.get_subscriber_names_and_types_by_node(NODE, "/")}
        return all(len(found[right]) >= len(names - OPTIONAL) for right, names in policy.items())

    policy = {
        "reply": allowed("services", "reply"),
        "publish": allowed("topics", "publish"),
        "subscribe": allowed("topics", "subscribe"),
    }
    with suppress(AssertionError):  # what is missing is told below
        robot.spin_until(is_known)
    robot.spin(0.5)
    is_known()
    for right, names in policy.items():
        assert sorted(found[right] - OPTIONAL) == sorted(names - OPTIONAL), right

"""Every level of /diagnostics, rule by rule of the one table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from deviloc_ros.config import keys
from deviloc_ros.robot.synchronizer import CameraCount
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.config.output_config import BudgetConfig, DiagnosticsConfig
from deviloc_ros.ros.diagnostics.health import ITEMS
from deviloc_ros.ros.diagnostics.rules import Level, Rule, assess
from deviloc_ros.ros.diagnostics.snapshot import Snapshot

LIMITS = DiagnosticsConfig(
    max_fix_age=5.0, lost_after=30.0, max_latency=0.5, excessive_latency=2.0, min_rate=0.5,
    min_inliers=50, max_dropped=0.9, max_device_memory=0.95, max_memory=4000,
    budget=BudgetConfig(wait=0.1, extract=0.1, retrieve=0.1, match=0.1, pose=0.1),
)  # fmt: skip
WELL = {
    "listening": 60.0, "received": 100, "localized": 90, "rate": 1.5, "latency": 0.4,
    "fix_age": 0.5, "inliers": 200, "mean_inliers": 180.0, "dropped_share": 0.5,
    "stages": dict.fromkeys(("wait", "extract", "retrieve", "match", "pose"), 0.09),
    "memory": 3900.0, "device_memory": (900.0, 1000.0),
    "cameras": {"left": CameraCount(received=5)},
}  # fmt: skip

# What must change for a rule to hold, just beyond its limit: (key, level) -> changes.
RAISED: dict[tuple[str, Level], Mapping[str, Any]] = {
    ("reload", Level.WARN): {"reload_failed": True},
    ("calibrated", Level.WARN): {
        "uncalibrated": ("/rear/camera_info",),
        "cameras": {"left": CameraCount(5), "rear": CameraCount(5)},
        "listening": 5.1,
    },
    ("unusable", Level.WARN): {"unusable": {"rear BAD_CALIBRATION": 3}},
    ("unusable", Level.ERROR): {"unusable": {"BAD_CALIBRATION": 3}, "all_unusable": True},
    ("namesakes", Level.WARN): {"namesakes": 1},
    ("calibrated", Level.ERROR): {"uncalibrated": ("/camera_info",), "listening": 5.1},
    ("cameras", Level.WARN): {"cameras": {"left": CameraCount(3), "rear": CameraCount(0)}},
    ("frames_received", Level.ERROR): {"received": 0, "listening": 5.1},
    ("frames_dropped", Level.WARN): {"dropped_share": 0.91},
    ("rate_hz", Level.WARN): {"rate": 0.4},
    ("latency_ms", Level.WARN): {"latency": 0.51},
    ("latency_ms", Level.ERROR): {"latency": 2.1},
    ("wait_ms", Level.WARN): {"stages": {"wait": 0.11}},
    ("extract_ms", Level.WARN): {"stages": {"extract": 0.11}},
    ("retrieve_ms", Level.WARN): {"stages": {"retrieve": 0.11}},
    ("match_ms", Level.WARN): {"stages": {"match": 0.11}},
    ("pose_ms", Level.WARN): {"stages": {"pose": 0.11}},
    ("inliers", Level.WARN): {"mean_inliers": 49.0},
    ("fix_age_s", Level.WARN): {"fix_age": 5.1},
    ("fix_age_s", Level.ERROR): {"fix_age": 30.1},
    ("damaged_map", Level.ERROR): {"damaged": 1},
    ("tf", Level.WARN): {"tf_withheld_by_map": True},
    ("memory_mb", Level.WARN): {"memory": 4001.0},
    ("device_memory_mb", Level.WARN): {"device_memory": (951.0, 1000.0)},
    ("internal_errors", Level.ERROR): {"internal_errors": 1},
}
RULES = [(item.key, rule) for item in ITEMS for rule in item.rules]


def snapshot(**changes: Any) -> Snapshot:
    return Snapshot(**{**WELL, **changes})


def test_a_node_that_is_well_says_so_and_everything_else() -> None:
    level, text, values = assess(ITEMS, snapshot(), LIMITS)
    assert (level, text) == (Level.OK, "localizing")
    assert list(values) == [item.key for item in ITEMS]
    assert all(isinstance(value, str) for value in values.values())
    assert (values["latency_ms"], values["match_ms"], values["rate_hz"]) == (
        "400.0",
        "90.0",
        "1.50",
    )
    assert values["cameras"] == "left: 5 received, 0 missing, 0 late"
    assert values["device_memory_mb"] == "900 of 1000"


@pytest.mark.parametrize(("key", "rule"), RULES, ids=[f"{key}-{r.level.name}" for key, r in RULES])
def test_every_rule_raises_its_level_alone(key: str, rule: Rule) -> None:
    level, text, _ = assess(ITEMS, snapshot(**RAISED[key, rule.level]), LIMITS)
    assert (level, text) == (rule.level, rule.complaint)


def test_no_rule_is_left_out() -> None:
    assert set(RAISED) == {(key, rule.level) for key, rule in RULES}


@pytest.mark.parametrize(("key", "rule"), RULES, ids=[f"{key}-{r.level.name}" for key, r in RULES])
def test_limits_that_a_rule_names_are_parameters(key: str, rule: Rule) -> None:
    named = re.findall(r"`([^`]+)`", rule.meaning)
    assert set(named) <= {k.name for k in keys(NodeConfig)}


def test_the_worst_complaint_comes_first() -> None:
    level, text, _ = assess(ITEMS, snapshot(latency=0.6, internal_errors=2, fix_age=6.0), LIMITS)
    assert level is Level.ERROR
    assert text == "internal errors, see the log; results come late; no pose for too long"


def test_odometry_that_is_missing_is_told() -> None:
    assert assess(ITEMS, snapshot(tf_lacks_odometry=True), LIMITS)[:2] == (
        Level.WARN,
        "no transform",
    )


def test_a_pause_is_no_fault() -> None:
    paused = snapshot(paused=True, received=0, rate=0.0, fix_age=600.0, latency=float("nan"))
    assert assess(ITEMS, paused, LIMITS)[:2] == (Level.OK, "paused")


def test_limits_of_zero_are_none() -> None:
    slow = snapshot(stages={"match": 100.0}, memory=1e6, rate=0.0, mean_inliers=1.0)
    assert assess(ITEMS, slow, DiagnosticsConfig())[:2] == (Level.OK, "localizing")


def test_a_node_without_results_yet_is_well() -> None:
    assert assess(ITEMS, Snapshot(listening=1.0), DiagnosticsConfig())[0] is Level.OK

"""Fixtures of the tests over real DDS."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed; ./run test brings it")
import rclpy
from rclpy.context import Context
from robot import FakeLocalizer, Robot, domain_id


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A ROS graph of its own: other tests and robots on this network stay out."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    # A lifecycle node stays in the graph until its state machine, in a cycle with it, is collected.
    gc.collect()
    result = Context()
    rclpy.init(context=result, domain_id=domain_id())
    yield result
    rclpy.try_shutdown(context=result)


@pytest.fixture
def robot(context: Context) -> Iterator[Robot]:
    """A robot without its node: tests add it with the parameters they need."""
    result = Robot(context, FakeLocalizer())
    yield result
    result.close()

"""Fixtures of the tests over real DDS."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed; ./run test brings it")
import rclpy
from rclpy.context import Context
from robot import FakeLocalizer, Robot


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """A ROS graph of its own: other tests and robots on this network stay out."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    result = Context()
    rclpy.init(context=result, domain_id=domain_id())
    yield result
    rclpy.try_shutdown(context=result)


def domain_id() -> int:
    """Return a domain of this test process: parallel workers do not hear each other."""
    return 1 + os.getpid() % 100


@pytest.fixture
def robot(context: Context) -> Iterator[Robot]:
    """A robot without its node: tests add it with the parameters they need."""
    result = Robot(context, FakeLocalizer())
    yield result
    result.close()

"""Everything that people and programs do to a running node, again and again, in random order."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool, Trigger

from deviloc_ros.ros.messages import stamp_message

NODE = "/localization"
ANSWER_SECONDS = 60.0
"""A service of the node that has not answered by then never will."""
CHANGES: tuple[tuple[str, Any, bool], ...] = (
    ("verification.min_inliers", 15, True),
    ("verification.min_inliers", 40, True),
    ("verification.min_inliers", -1, False),
    ("tf.tolerance", 0.3, True),
    ("tf.tolerance", -1.0, False),
    ("debug.publish_image", True, True),
    ("debug.publish_image", False, True),
    ("map.path", 5, False),
    ("features.num_keypoints", 100, False),
    ("diagnostics.max_latency", 2.0, True),
)
"""Parameters that are set while the node runs: name, value, whether it is to be taken."""


class SimulatedTime:
    """A clock that runs with the machine's and can be set; its thread publishes /clock."""

    def __init__(self, node: Node) -> None:
        """Begin at a time of our own."""
        self._publisher = node.create_publisher(Clock, "/clock", 1)
        self._offset = 1_000_000_000_000_000_000 - time.monotonic_ns()

    def now(self) -> int:
        """Return the time, nanoseconds."""
        return time.monotonic_ns() + self._offset

    def jump(self, seconds: float) -> None:
        """Set the clock forward, or back."""
        self._offset += round(seconds * 1e9)

    def publish(self) -> None:
        """Tell the time."""
        self._publisher.publish(Clock(clock=stamp_message(self.now())))


class Disturbances:
    """Disturbs the node from a thread of its own; a context manager.

    Args:
        context: initialised.
        maps: files that `map.path` alternates between.
        seed: of what is done when.

    Attributes:
        done: how often each thing was done.
        faults: what the node did not do as it should have.
    """

    def __init__(self, context: Context, maps: tuple[str, ...], seed: int) -> None:
        """Make clients."""
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self._maps = maps
        self._random = Random(seed)
        self._node = Node("disturbances", context=context)
        self.clock = SimulatedTime(self._node)
        self._triggers = {
            name: self._node.create_client(Trigger, f"{NODE}/{name}")
            for name in ("relocalize", "localize_once", "reload_map")
        }
        self._pause = self._node.create_client(SetBool, f"{NODE}/pause")
        self._set = self._node.create_client(SetParameters, f"{NODE}/set_parameters")
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._ending, self._stopping = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._spin, self._tell_time, self._disturb)
        ]

    def __enter__(self) -> Disturbances:
        """Begin to tell the time; nothing is disturbed yet."""
        for thread in self._threads[:2]:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self._ending.set()
        self._stopping.set()
        self._threads[1].join()
        self._executor.shutdown()
        self._threads[0].join()
        self._node.destroy_node()

    def begin(self) -> None:
        """Begin to disturb."""
        self._threads[2].start()

    def end(self) -> None:
        """Disturb no more, and let images in."""
        self._ending.set()
        self._threads[2].join()
        self._ask(self._pause, SetBool.Request(data=False))

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _tell_time(self) -> None:
        while not self._stopping.wait(0.01):
            self.clock.publish()

    def _disturb(self) -> None:
        acts: list[Callable[[], None]] = [
            self._pause_a_while,
            self._change_parameters,
            self._change_maps,
            self._jump,
            lambda: self._trigger("relocalize"),
            lambda: self._trigger("localize_once"),
        ]
        while not self._ending.is_set():
            order = self._random.sample(acts, len(acts))
            for act in order:
                if self._ending.wait(self._random.uniform(0.2, 3.0)):
                    return
                act()

    def _ask(self, client: Any, request: Any) -> Any:
        """Return a service's answer; None is a fault."""
        future = client.call_async(request)
        until = time.monotonic() + ANSWER_SECONDS
        while not future.done():
            if time.monotonic() > until:
                self.faults.append(f"{client.srv_name}: no answer within {ANSWER_SECONDS:g} s")
                return None
            time.sleep(0.005)
        return future.result()

    def _trigger(self, name: str) -> None:
        self.done[name] += self._ask(self._triggers[name], Trigger.Request()) is not None

    def _pause_a_while(self) -> None:
        answer = self._ask(self._pause, SetBool.Request(data=True))
        self.done["pause"] += answer is not None
        if self._random.random() < 0.5:  # a pause does not keep people from asking
            self._trigger("localize_once")
        self._ending.wait(self._random.uniform(0.0, 2.0))
        self._ask(self._pause, SetBool.Request(data=False))

    def _set_parameter(self, name: str, value: Any) -> bool | None:
        parameter = Parameter(name, value=value).to_parameter_msg()
        answer = self._ask(self._set, SetParameters.Request(parameters=[parameter]))
        return None if answer is None else bool(answer.results[0].successful)

    def _change_parameters(self) -> None:
        name, value, expected = self._random.choice(CHANGES)
        taken = self._set_parameter(name, value)
        self.done["parameter taken" if taken else "parameter refused"] += 1
        if taken is not None and taken != expected:
            self.faults.append(f"{name}: {value} was {'taken' if taken else 'refused'}")

    def _change_maps(self) -> None:
        path = self._random.choice(self._maps)
        if self._set_parameter("map.path", path) is False:
            self.faults.append(f"map.path: {path} was refused")
        self._trigger("reload_map")

    def _jump(self) -> None:
        seconds = self._random.choice((-0.2, -3.0, -20.0, 0.5, 5.0))
        self.clock.jump(seconds)
        self.done["time jumped back" if seconds < 0 else "time jumped forward"] += 1

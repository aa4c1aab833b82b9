"""A reader that takes seconds for each message, as a person's computer behind a bad link does."""

from __future__ import annotations

import threading

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image


class SlowReader:
    """Listens to all that the node says, reliably, and takes seconds for each message."""

    def __init__(self, context: Context, seconds: float) -> None:
        """Subscribe."""
        self.read = 0
        self._node = Node("slow_reader", context=context)
        reliable = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        for kind, topic in (
            (DiagnosticArray, "/localization/status"),
            (Image, "/localization/debug_image"),
        ):
            self._node.create_subscription(kind, topic, self._on_message, reliable)
        self._seconds = seconds
        self._stopping = threading.Event()
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def __enter__(self) -> SlowReader:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._stopping.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()

    def _spin(self) -> None:
        while not self._stopping.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _on_message(self, _: object) -> None:
        self.read += 1
        self._stopping.wait(self._seconds)

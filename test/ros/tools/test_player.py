"""The player over real DDS: bytes, order, timing, latched transforms, time, and a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed; ./run test brings it")
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from deviloc_ros.bags import types
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.image import pixels_from_message
from deviloc_ros.messages.stamped import stamp_ns
from deviloc_ros.ros.tools.player import BagPlayer, PlayOptions

pytestmark = pytest.mark.ros

MILLISECOND = 1_000_000
START = 1_700_000_000_000 * MILLISECOND
COUNT = 8
SPACING = 50 * MILLISECOND


@pytest.fixture
def bag_path(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        static = types.tf(START, "base_link", "camera", Transform.identity())
        writer.write("/tf_static", START, static, latched=True)
        for index in range(COUNT):
            stamp = START + index * SPACING
            pixels = np.full((48, 64, 3), index, np.uint8)
            writer.write("/image", stamp, types.image(stamp, "camera", pixels))
    return tmp_path / "bag"


class Listener:
    """Hears images, time and fixed transforms."""

    def __init__(self, context, domain_name="/image"):
        self.node = rclpy.create_node("listener", context=context)
        self.images, self.clock, self.static = [], [], []
        self.node.create_subscription(
            Image, domain_name, lambda m: self.images.append((time.monotonic(), m)), 50
        )
        self.node.create_subscription(
            Clock, "/clock", lambda m: self.clock.append(stamp_ns(m.clock)), QoSProfile(depth=1000)
        )
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(TFMessage, "/tf_static", self.static.append, latched)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)

    def spin(self, until, seconds=5.0):
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
        return until()


@pytest.fixture
def context():
    context = Context()
    rclpy.init(args=[], context=context, domain_id=os.getpid() % 100 + 1)
    yield context
    rclpy.try_shutdown(context=context)


def played(context, bag_path, options):
    """Play in a thread of the executor's, so that one process both sends and hears."""
    import threading

    listener = Listener(context, options.remaps.get("/image", "/image"))
    node = rclpy.create_node("player", context=context)
    bag = Bag(bag_path)
    player = BagPlayer(node, bag, options)
    thread = threading.Thread(
        target=lambda: (player.wait_for_subscribers(), player.play()), daemon=True
    )
    thread.start()
    return listener, thread


def test_images_come_as_recorded_in_order_and_in_time(context, bag_path):
    rate = 0.5
    options = PlayOptions(rate=rate, clock=True, wait_for=("/image", "/tf_static"))
    listener, thread = played(context, bag_path, options)
    assert listener.spin(lambda: len(listener.images) == COUNT and not thread.is_alive())
    stamps = [stamp_ns(message.header.stamp) for _, message in listener.images]
    assert stamps == [START + index * SPACING for index in range(COUNT)]
    for index, (_, message) in enumerate(listener.images):
        assert np.all(pixels_from_message(message) == index)
    # Nothing comes early: the whole takes at least as long as asked for.
    took = listener.images[-1][0] - listener.images[0][0]
    assert took > (COUNT - 1) * SPACING * 1e-9 / rate * 0.95
    assert listener.static[0].transforms[0].child_frame_id == "camera"
    assert listener.clock == sorted(listener.clock)
    assert len(listener.clock) > COUNT
    assert listener.clock[0] >= START
    assert listener.spin(lambda: listener.clock[-1] == START + (COUNT - 1) * SPACING)


def test_a_late_listener_still_gets_fixed_transforms(context, bag_path):
    node = rclpy.create_node("player", context=context)
    with Bag(bag_path) as bag:
        BagPlayer(node, bag, PlayOptions(rate=50)).play()
        listener = Listener(context)
        assert listener.spin(lambda: listener.static)


def test_topics_can_be_renamed_and_chosen(context, bag_path):
    options = PlayOptions(
        rate=20, topics=("/image",), remaps={"/image": "/robot/image"}, wait_for=("/robot/image",)
    )
    listener, thread = played(context, bag_path, options)
    assert listener.spin(lambda: len(listener.images) == COUNT and not thread.is_alive())
    assert not listener.static
    assert not listener.clock


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (PlayOptions(topics=("/nothing",)), "no topic /nothing; there are: /image, /tf_static"),
        (PlayOptions(wait_for=("/image",), wait_seconds=0.1), "nobody subscribed to /image"),
        (PlayOptions(wait_for=("/odd",)), "--wait-for /odd: no such topic"),
    ],
)
def test_what_cannot_be_played_is_told(context, bag_path, options, words):
    node = rclpy.create_node("player", context=context)
    with Bag(bag_path) as bag, pytest.raises(InputError, match=words):
        BagPlayer(node, bag, options).wait_for_subscribers()


def test_ctrl_c_ends_a_loop_cleanly(bag_path):
    environment = os.environ | {"ROS_DOMAIN_ID": str(os.getpid() % 100 + 1)}
    command = [sys.executable, "-m", "deviloc_ros.cli.main", "play", str(bag_path)]
    process = subprocess.Popen(
        [*command, "--loop", "--clock", "--rate", "4"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    time.sleep(3)
    assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert error.strip() == "deviloc: interrupted"

"""Whatever comes in from outside is ignored with one warning, or refused with a reason.

Messages are handed to the callbacks that DDS would call: a thousand of them take a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rcl_interfaces.msg import Log, ParameterValue
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.subscription import Subscription
from robot import BASE_FROM_CAMERA, Robot
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, NavSatFix
from tf2_msgs.msg import TFMessage

from deviloc_ros.config import keys
from deviloc_ros.localization.types import FailureReason
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.messages import stamp_message, transform_message
from deviloc_ros.ros.process import Termination, spin

pytestmark = pytest.mark.ros

NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 1e9, 1e300, 1.7e308]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.floats(),
)
NAMES = st.sampled_from(["", "/", "//", "map", "odom", "/odom", "base_link", "camera", "x" * 9999])
UNSIGNED = st.sampled_from([0, 1, 2, 3, 47, 48, 64, 65, 640, 2**16, 2**31, 2**32 - 1])
STAMPS = st.builds(
    lambda sec, nanosec: stamp_message(sec * 10**9 + nanosec),
    st.sampled_from([-(2**31), -1, 0, 1, 100, 2**31 - 1]),
    st.sampled_from([0, 1, 999_999_999]),
)
FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def numbers(count: int) -> st.SearchStrategy[list[float]]:
    return st.lists(NUMBERS, min_size=count, max_size=count)


@st.composite
def transforms(draw: st.DrawFn) -> TransformStamped:
    message = TransformStamped(child_frame_id=draw(NAMES))
    message.header.frame_id, message.header.stamp = draw(NAMES), draw(STAMPS)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = draw(numbers(3))
    q.x, q.y, q.z, q.w = draw(st.one_of(numbers(4), st.just([0.0, 0.0, 0.0, 1.0])))
    return message


@st.composite
def poses(draw: st.DrawFn) -> PoseWithCovarianceStamped:
    message = PoseWithCovarianceStamped()
    message.header.frame_id, message.header.stamp = draw(NAMES), draw(STAMPS)
    p, q = message.pose.pose.position, message.pose.pose.orientation
    p.x, p.y, p.z = draw(numbers(3))
    q.x, q.y, q.z, q.w = draw(st.one_of(numbers(4), st.just([0.0, 0.0, 0.0, 1.0])))
    message.pose.covariance = draw(st.one_of(numbers(36), st.just([0.0] * 36)))
    return message


@st.composite
def fixes(draw: st.DrawFn) -> NavSatFix:
    message = NavSatFix()
    message.header.stamp = draw(STAMPS)
    message.status.status = draw(st.sampled_from([-2, -1, 0, 2, 127]))
    message.latitude, message.longitude, message.altitude = draw(numbers(3))
    message.position_covariance = draw(numbers(9))
    message.position_covariance_type = draw(st.sampled_from([0, 1, 3, 255]))
    return message


@st.composite
def calibrations(draw: st.DrawFn) -> CameraInfo:
    message = CameraInfo()
    message.width, message.height = draw(st.sampled_from([(64, 48), (0, 0), (2**32 - 1, 48)]))
    message.distortion_model = draw(
        st.sampled_from(["", "plumb_bob", "equidistant", "rational_polynomial", "\x00", "x" * 999])
    )
    message.d = draw(st.lists(NUMBERS, max_size=15))
    usual = [50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0]
    message.k = draw(st.one_of(numbers(9), st.just(usual)))
    message.r, message.p = draw(numbers(9)), draw(numbers(12))
    message.binning_x, message.binning_y = draw(UNSIGNED), draw(UNSIGNED)
    roi = message.roi
    roi.width, roi.height, roi.x_offset, roi.y_offset = (draw(UNSIGNED) for _ in range(4))
    return message


@st.composite
def images(draw: st.DrawFn) -> Image:
    encodings = ["", "mono8", "mono16", "rgb8", "yuv422", "bayer_rggb8", "32FC1", "x" * 999]
    message = Image(
        encoding=draw(st.sampled_from(encodings)),
        width=draw(UNSIGNED),
        height=draw(UNSIGNED),
        step=draw(UNSIGNED),
        is_bigendian=draw(st.sampled_from([0, 1, 255])),
    )
    message.header.frame_id, message.header.stamp = draw(NAMES), draw(STAMPS)
    message.data = bytes(draw(st.sampled_from([0, 1, 2, 3, 64, 47 * 64, 48 * 64, 48 * 128])))
    return message


class Door:
    """The node's callbacks, by message type and topic."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        assert robot.node is not None

    def give(self, kind: type, topic: str, message: Any) -> None:
        """Hand a message to the node as DDS would."""
        node = self.robot.node
        assert node is not None
        subscriptions: list[Subscription[Any]] = [
            item
            for item in node.subscriptions
            if item.msg_type is kind and item.topic.strip("/") == topic.strip("/")
        ]
        assert subscriptions, f"nothing listens to {topic}"
        subscriptions[-1].callback(message)

    def still_localizes(self) -> None:
        """A usual image gives a pose, though strange ones came before."""
        robot = self.robot
        robot.send_info()
        robot.send_static("base_link", "camera", BASE_FROM_CAMERA)
        robot.spin(0.2)
        before = len(robot.poses)
        robot.send_image(30, stamp=50.0)
        robot.spin_until(lambda: len(robot.poses) > before)
        assert np.isfinite(np.array(robot.poses[-1].pose.covariance)).all()


@pytest.fixture
def door(robot: Robot) -> Door:
    robot.start(gnss__enabled=True, gnss__latitude=50.0, gnss__longitude=8.0)
    return Door(robot)


def test_transforms(door: Door) -> None:
    @FEW
    @given(st.lists(transforms(), max_size=3), st.sampled_from(["/tf", "/tf_static"]))
    def give(items: list[TransformStamped], topic: str) -> None:
        door.give(TFMessage, topic, TFMessage(transforms=items))

    give()
    door.still_localizes()


def test_initial_poses(door: Door) -> None:
    @FEW
    @given(poses())
    def give(message: PoseWithCovarianceStamped) -> None:
        door.give(PoseWithCovarianceStamped, "/initialpose", message)

    give()
    door.still_localizes()
    for prior in door.robot.localizer.priors:
        assert prior is None or np.isfinite(prior.map_from_body.matrix).all()


def test_satellite_fixes(door: Door) -> None:
    @FEW
    @given(fixes())
    def give(message: NavSatFix) -> None:
        door.give(NavSatFix, "/fix", message)

    give()
    door.still_localizes()


def refused(robot: Robot, before: int) -> None:
    """Wait until all that was sent is answered, and check that each answer is a reason."""
    robot.spin(0.2)
    node = robot.node
    assert node is not None
    reasons = {message.status[0].message for message in robot.status[before:]}
    assert FailureReason.INTERNAL_ERROR.name not in reasons, [
        {item.key: item.value for item in message.status[0].values}
        for message in robot.status[before:]
        if message.status[0].message == FailureReason.INTERNAL_ERROR.name
    ]


def test_calibrations(door: Door) -> None:
    @settings(FEW, max_examples=25)
    @given(calibrations())
    def give(message: CameraInfo) -> None:
        door.give(CameraInfo, "/camera_info", message)
        before = len(door.robot.status)
        door.robot.send_image(30, stamp=2.0)
        door.robot.spin_until(lambda: len(door.robot.status) > before)
        refused(door.robot, before)

    give()
    door.still_localizes()


def test_images(door: Door) -> None:
    @settings(FEW, max_examples=100)
    @given(images())
    def give(message: Image) -> None:
        door.give(Image, "/image", message)
        door.robot.spin(0.002)

    give()
    refused(door.robot, 0)
    door.still_localizes()


def test_compressed_images(robot: Robot) -> None:
    robot.add_node(image__transport="compressed").start()
    door = Door(robot)

    @FEW
    @given(
        st.binary(max_size=200),
        st.sampled_from(["", "jpeg", "png", "rgb8; jpeg compressed bgr8", "bayer_x; png", ";;"]),
    )
    def give(data: bytes, form: str) -> None:
        message = CompressedImage(format=form)
        message.data = data
        door.give(CompressedImage, "/image/compressed", message)
        robot.spin(0.002)

    give()
    refused(robot, 0)


def test_parameters(door: Door) -> None:
    values = st.one_of(
        NUMBERS,
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.text(max_size=5),
        st.lists(NUMBERS, max_size=5),
        st.lists(st.text(max_size=3), max_size=3),
        st.lists(st.booleans(), max_size=3),
    )
    names = [key.name for key in keys(NodeConfig)]

    @settings(FEW, max_examples=200)
    @given(st.sampled_from(names), values)
    def give(name: str, value: Any) -> None:
        assert door.robot.node is not None
        changed = Parameter(name, value=value)
        for result in door.robot.node.set_parameters([changed]):
            assert result.successful or result.reason

    give()


def test_a_frame_that_nobody_needs_is_told_once(robot: Robot) -> None:
    robot.start()
    wrong = transform_message("base_link", "wheel", 0, BASE_FROM_CAMERA)
    wrong.transform.rotation.x = wrong.transform.rotation.y = 0.0
    wrong.transform.rotation.z = wrong.transform.rotation.w = 0.0
    told: list[str] = []
    robot.peer.create_subscription(Log, "/rosout", lambda m: told.append(m.msg), 100)
    robot.spin(0.5)
    for _ in range(5):
        robot.tf_publisher.publish(TFMessage(transforms=[wrong]))
        robot.static_publisher.publish(TFMessage(transforms=[wrong]))
    robot.spin_until(lambda: any("wheel" in text for text in told))
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)
    about = [text for text in told if "wheel" in text]
    assert len(about) == 1
    assert "unit quaternion" in about[0]


class Ending:
    """A Termination that a test asks for."""

    def call(self, callback: Callable[[], object]) -> None:
        self.end = callback


def test_what_a_request_raises_ends_that_request_alone(robot: Robot) -> None:
    """rclpy's own services raise on a parameter of a type that does not exist."""
    node = robot.add_node()
    assert node.start()
    robot.executor.remove_node(node)
    ending, faults = Ending(), []
    thread = threading.Thread(
        target=spin, args=(node, cast(Termination, ending)), kwargs={"on_fault": faults.append}
    )
    thread.start()
    client = robot.peer.create_client(SetParameters, "/localization/set_parameters")
    robot.spin_until(client.service_is_ready)
    senseless = ParameterMessage(name="tf.rate", value=ParameterValue(type=99))
    client.call_async(SetParameters.Request(parameters=[senseless]))
    robot.spin_until(lambda: bool(faults))
    sound = ParameterMessage(name="tf.rate", value=ParameterValue(type=3, double_value=7.0))
    answer = client.call_async(SetParameters.Request(parameters=[sound]))
    robot.spin_until(answer.done)
    assert answer.result().results[0].successful
    assert "Traceback" in faults[0]
    ending.end()
    thread.join(10)
    assert not thread.is_alive()

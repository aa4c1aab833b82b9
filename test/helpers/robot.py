"""A robot in a box: the node and a peer that talks to it over real DDS, in one process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from at_once import AtOnce
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from deviloc_ros.config import LocalizerConfig, VerificationConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
)
from deviloc_ros.robot.base_pose import BasePose
from deviloc_ros.ros.messages import pose_message, stamp_message, transform_message
from deviloc_ros.ros.node.node import LocalizationNode

LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)

BASE_FROM_CAMERA = Transform(
    Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.3, -0.1, 1.2])
)
"""A camera that looks along the robot's x axis."""


def domain_id() -> int:
    """Return a domain of this test process: parallel workers do not hear each other."""
    return 1 + os.getpid() % 100


class FakeMap:
    """A map's properties."""

    metric = True
    gravity_aligned = True


class FakeLocalizer(AtOnce):
    """Reads a pose off the first pixel: x = its value / 10; a black image is refused."""

    def __init__(self) -> None:
        self.map = FakeMap()
        self.seconds = 0.0
        self.cameras: list[Camera] = []
        self.images: list[Any] = []
        self.error: Exception | None = None
        self.priors: list[PosePrior | None] = []

    def warm_up(self, num_images: int = 1) -> None:
        self.warm = num_images

    def set_verification(self, limits: VerificationConfig) -> None:
        self.verification = limits

    def localize(
        self, image: np.ndarray[Any, Any], camera: Camera, prior: PosePrior | None = None
    ) -> PoseEstimate | LocalizationFailure:
        self.cameras.append(camera)
        self.images.append(image)
        self.priors.append(prior)
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        value = float(image.flat[0])
        if value == 0:
            return LocalizationFailure(FailureReason.TOO_FEW_INLIERS, "3 < 30", num_inliers=3)
        points = np.array([[0.0, 0.0, 5.0], [1.0, 0.0, 5.0]])
        camera_from_map = self.map_from_camera(value).inverse()
        matches = Correspondences(
            np.array([[10.0, 40.0], [20.0, 42.0]]),
            camera_from_map.inverse().apply(points),
            np.ones(2),
            np.zeros(2, np.int64),
            np.zeros((2, 2)),
        )
        return PoseEstimate(
            camera_from_map,
            np.diag([0.01, 0.02, 0.03, 1e-4, 2e-4, 3e-4]),
            matches,
            np.array([True, False]),
            matches,
            ["reference.png"],
            {"extract": 0.001},
        )

    @staticmethod
    def map_from_camera(value: float) -> Transform:
        """Return the pose that the value of the first pixel stands for."""
        turn = Rotation.from_euler("z", value, degrees=True)
        return Transform(turn, np.array([value / 10, 2.0, 0.0])) @ BASE_FROM_CAMERA


class Robot:
    """The node under test and a peer with what it sent."""

    def __init__(self, context: Context, localizer: FakeLocalizer) -> None:
        self.context = context
        self.localizer = localizer
        self.executor = SingleThreadedExecutor(context=context)
        self.peer = Node("peer", context=context)
        self.executor.add_node(self.peer)
        self.node: LocalizationNode | None = None
        self.poses: list[PoseWithCovarianceStamped] = []
        self.transforms: list[Any] = []
        self.status: list[DiagnosticArray] = []
        self.modes: list[tuple[str, str]] = []
        self.diagnostics: list[DiagnosticArray] = []
        subscribe = self.peer.create_subscription
        subscribe(PoseWithCovarianceStamped, "/localization/pose", self.poses.append, 10)
        subscribe(TFMessage, "/tf", lambda m: self.transforms.extend(m.transforms), 100)
        subscribe(DiagnosticArray, "/localization/status", self._on_status, LATCHED)
        subscribe(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)
        self.initial_publisher = self.peer.create_publisher(
            PoseWithCovarianceStamped, "/initialpose", 10
        )
        self.image_publisher = self.peer.create_publisher(Image, "/image", 10)
        self.info_publisher = self.peer.create_publisher(CameraInfo, "/camera_info", LATCHED)
        self.tf_publisher = self.peer.create_publisher(TFMessage, "/tf", 100)
        self.static_publisher = self.peer.create_publisher(TFMessage, "/tf_static", LATCHED)

    def add_node(
        self, load: Callable[[Path, LocalizerConfig], Any] | None = None, **parameters: Any
    ) -> LocalizationNode:
        """Make the node; parameter names have double underscores for dots."""
        values = {"map.path": "street.devmap"}
        values.update({name.replace("__", "."): value for name, value in parameters.items()})
        self.node = LocalizationNode(
            load or (lambda path, config: self.localizer),
            context=self.context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.executor.add_node(self.node)
        return self.node

    def start(self, calibrate: bool = True, extrinsics: bool = True, **parameters: Any) -> None:
        """Make the node, activate it, and give it what it needs."""
        node = self.add_node(**parameters)
        assert node.start()
        self.spin_until(lambda: self.image_publisher.get_subscription_count() == 1)
        self.spin_until(lambda: self.tf_publisher.get_subscription_count() >= 2)
        self.spin_until(lambda: node.count_subscribers("/localization/pose") == 1)
        self.spin_until(lambda: node.count_subscribers("/localization/status") == 1)
        if calibrate:
            self.send_info()
        if extrinsics:
            self.send_static("base_link", "camera", BASE_FROM_CAMERA)
        self.spin(0.2)

    def send_info(self, width: int = 64, height: int = 48) -> None:
        """Send a CameraInfo."""
        info = CameraInfo(width=width, height=height, distortion_model="plumb_bob")
        info.k = [50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0]
        info.p = [50.0, 0.0, 31.5, 0.0, 0.0, 50.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        info.d = [0.0] * 5
        self.info_publisher.publish(info)

    def send_static(self, parent: str, child: str, transform: Transform) -> None:
        """Send a fixed transform."""
        self.static_publisher.publish(
            TFMessage(transforms=[transform_message(parent, child, 0, transform)])
        )

    def send_tf(self, parent: str, child: str, stamp: float, transform: Transform) -> None:
        """Send a transform at a time, seconds."""
        message = transform_message(parent, child, round(stamp * 1e9), transform)
        self.tf_publisher.publish(TFMessage(transforms=[message]))

    def send_image(self, value: int, stamp: float = 1.0, **changes: Any) -> None:
        """Send an image of one gray value."""
        image = Image(height=48, width=64, encoding="mono8", step=64)
        image.header.frame_id = "camera"
        image.header.stamp = stamp_message(round(stamp * 1e9))
        image.data = bytes([value]) * (64 * 48)
        for name, change in changes.items():
            setattr(image, name, change)
        self.image_publisher.publish(image)

    def spin(self, seconds: float) -> None:
        """Let everything happen for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.01)

    def spin_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Let everything happen until a condition holds; fail if it does not come to hold."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            self.executor.spin_once(timeout_sec=0.01)

    def call(self, kind: Any, name: str, **request: Any) -> Any:
        """Call a service of the node and return its response."""
        client = self.peer.create_client(kind, f"/localization/{name}")
        self.spin_until(client.service_is_ready)
        future = client.call_async(kind.Request(**request))
        self.spin_until(future.done)
        self.peer.destroy_client(client)
        return future.result()

    def send_initial_pose(
        self, frame: str, pose: Transform, covariance: dict[int, float], stamp: float = 0.0
    ) -> None:
        """Send an initialpose, with the given elements of its covariance."""
        message = pose_message(
            frame, round(stamp * 1e9), BasePose(pose, np.zeros((6, 6), np.float64))
        )
        for index, variance in covariance.items():
            message.pose.covariance[index] = variance
        self.spin_until(lambda: self.initial_publisher.get_subscription_count() == 1)
        self.initial_publisher.publish(message)

    def last_status(self) -> tuple[str, dict[str, str]]:
        """Return message and values of the newest ~/status."""
        self.spin_until(lambda: len(self.status) >= len(self.poses) and bool(self.status))
        status = self.status[-1].status[0]
        return status.message, {item.key: item.value for item in status.values}

    def _on_status(self, message: DiagnosticArray) -> None:
        """Keep what is said of images, and apart from it mode and reason of the search."""
        search = message.status[-1]
        assert search.name == "localization: search"
        values = {item.key: item.value for item in search.values}
        self.modes.append((search.message, values["reason"]))
        if len(message.status) > 1:
            self.status.append(message)

    def close(self) -> None:
        """End both nodes."""
        if self.node is not None:
            self.node.destroy_node()
        self.peer.destroy_node()
        self.executor.shutdown()


def base_in_map(value: float) -> Transform:
    return FakeLocalizer.map_from_camera(value) @ BASE_FROM_CAMERA.inverse()


def read_pose(message: Any) -> Transform:
    p, q = message.pose.pose.position, message.pose.pose.orientation
    return Transform(Rotation.from_quat([q.x, q.y, q.z, q.w]), np.array([p.x, p.y, p.z]))

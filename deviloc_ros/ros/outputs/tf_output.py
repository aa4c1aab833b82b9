"""What the node says on /tf: map -> odom, kept alive between fixes, or map -> base at fixes."""

from __future__ import annotations

import threading

from geometry_msgs.msg import TransformStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.timer import Timer
from tf2_msgs.msg import TFMessage

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.localize_frames import MapProperties
from deviloc_ros.robot.map_to_odom import MapToOdom
from deviloc_ros.robot.odometry import Odometry
from deviloc_ros.robot.transform_buffer import TransformUnavailableError
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.messages import transform_message


class TfOutput:
    """Publishes the transform that the last verified pose gives.

    A frame has one parent. So a robot with an odometry frame never gets map -> base, not even
    before its odometry has come: only `frames.odom` being empty, or `tf.publish`, gives that.

    map -> odom is stamped `tf.tolerance` after now and repeated at `tf.rate`: whoever asks for
    map -> base at any time since the first fix gets an answer without extrapolation. Stamps only
    ever rise, as tf2 demands.
    """

    def __init__(
        self,
        node: LifecycleNode,
        config: NodeConfig,
        properties: MapProperties,
        odometry: Odometry,
    ) -> None:
        """Make the publisher."""
        self._node = node
        self._frames, self._tf = config.frames, config.tf
        self._odometry = odometry
        self._kept = MapToOdom()
        self._lock = threading.Lock()
        self._last_stamp = 0
        self._timer: Timer | None = None
        self._publisher = node.create_lifecycle_publisher(
            TFMessage, "/tf", QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        )
        self.withheld = ""
        """Why this map gives no transform at all; empty if it does."""
        self.lacks_odometry = False
        """Whether the newest fix gave no transform for want of odometry."""
        self.configure(config, properties)

    def configure(self, config: NodeConfig, properties: MapProperties) -> None:
        """Take parameters, changed ones too, and the map's properties."""
        rate = config.tf.rate
        changed = self._timer is not None and rate != self._tf.rate
        self._frames, self._tf = config.frames, config.tf
        self._kept.planar = config.tf.planar
        self._kept.smoothing = config.tf.smoothing
        self._kept.smoothing_limit = config.tf.smoothing_limit
        self._kept.max_age = config.tf.max_age
        self.withheld = why_withheld(config, properties)
        if changed:
            self._start_timer()

    @property
    def withheld_by_map(self) -> bool:
        """Whether it is the map that gives no transform."""
        return bool(self.withheld) and self._tf.publish != "none"

    @property
    def to_base(self) -> bool:
        """Whether the transform is map -> base."""
        return self._tf.publish == "map_to_base" or not self._odometry.configured

    def activate(self) -> None:
        """Begin without a fix."""
        self.clear()
        self._start_timer()

    def deactivate(self) -> None:
        """Say nothing more."""
        self._stop_timer()

    def close(self) -> None:
        """Give the publisher back."""
        self._stop_timer()
        self._node.destroy_lifecycle_publisher(self._publisher)

    def clear(self) -> None:
        """Forget every fix: time jumped back, or another map is in use."""
        with self._lock:
            self._kept.clear()
            self._last_stamp = 0
            self.lacks_odometry = False

    def fix(self, map_from_base: Transform, stamp: int) -> str:
        """Take a verified pose, and return what was published or why nothing was.

        Args:
            map_from_base: the robot's pose.
            stamp: of the image, nanoseconds.
        """
        if self.withheld:
            return self.withheld
        frames = self._frames
        if self.to_base:
            self._send([transform_message(frames.map, frames.base, stamp, map_from_base)])
            return f"{frames.map} -> {frames.base}"
        try:
            odom_from_base = self._odometry.at(stamp, self._tf.lookup_timeout)
        except TransformUnavailableError as error:
            self.lacks_odometry = True
            return str(error)
        self.lacks_odometry = False
        now = self._now()
        first = self._kept.at(now) is None
        self._kept.correct(map_from_base, odom_from_base, now)
        # The first fix is good for its image too, not only from now on.
        self._keep_alive(since=min(stamp, now) if first else None)
        return f"{frames.map} -> {frames.odom}"

    def _keep_alive(self, since: int | None = None) -> None:
        """Repeat map -> odom, if there is a fix; also at an earlier time, nanoseconds."""
        with self._lock:
            now = self._now()
            map_from_odom = self._kept.at(now)
            if map_from_odom is None or self.withheld or self.to_base:
                return
            until = now + round(self._tf.tolerance * 1e9)
            if until <= self._last_stamp:
                return
            stamps = [until] if since is None or since <= self._last_stamp else [since, until]
            self._last_stamp = until
            frames = self._frames
            self._send(
                [transform_message(frames.map, frames.odom, at, map_from_odom) for at in stamps]
            )

    def _send(self, transforms: list[TransformStamped]) -> None:
        self._publisher.publish(TFMessage(transforms=transforms))

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self._node.create_timer(1 / self._tf.rate, self._keep_alive)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None


def why_withheld(config: NodeConfig, properties: MapProperties) -> str:
    """Return why a map gives no transform at all; empty if it does."""
    if config.tf.publish == "none":
        return "tf.publish is none"
    faults = [
        fault
        for fault, right in (
            ("not metric", properties.metric),
            ("not aligned to gravity", properties.gravity_aligned),
        )
        if not right
    ]
    if faults and not config.tf.allow_non_metric_map:
        return (
            f"the map is {' and '.join(faults)}; use `deviloc map align`, or set "
            "tf.allow_non_metric_map"
        )
    return ""

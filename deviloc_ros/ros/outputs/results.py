"""What goes out for the images of one instant: pose, transform, status and the debug image."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from deviloc_ros.robot.outcome import Fix, Outcome
from deviloc_ros.robot.search_state import SearchState
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.diagnostics.diagnostics import diagnostic_array, image_status, search_status
from deviloc_ros.ros.messages import pose_message
from deviloc_ros.ros.outputs.debug import debug_message
from deviloc_ros.ros.outputs.tf_output import TfOutput


class Results:
    """The publishers of results, but for /tf; they may be used from any thread."""

    def __init__(self, node: LifecycleNode, config: NodeConfig, tf: TfOutput) -> None:
        """Make the publishers."""
        self._node = node
        self._config = config
        self._tf = tf
        name = node.get_fully_qualified_name().lstrip("/")
        self._image_name, self._search_name = f"{name}: localization", f"{name}: search"
        # As AMCL's: Nav2's BasicNavigator and others ask for the last pose, however late they come.
        last = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        latched = QoSProfile(
            depth=10,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._pose = node.create_lifecycle_publisher(PoseWithCovarianceStamped, "~/pose", last)
        self._status = node.create_lifecycle_publisher(DiagnosticArray, "~/status", latched)
        self._debug = node.create_lifecycle_publisher(Image, "~/debug_image", QoSProfile(depth=1))

    def configure(self, config: NodeConfig) -> None:
        """Take changed parameters."""
        self._config = config

    def close(self) -> None:
        """Give the publishers back."""
        for publisher in (self._pose, self._status, self._debug):
            self._node.destroy_lifecycle_publisher(publisher)

    def publish_pose(self, outcome: Outcome) -> str:
        """Publish pose and transform, if there are any; return what became of the transform."""
        if not isinstance(outcome.result, Fix):
            return ""
        pose, stamp = outcome.result.pose, outcome.frames.stamp
        self._pose.publish(pose_message(self._config.frames.map, stamp, pose))
        return self._tf.fix(pose.map_from_base, stamp)

    def publish_status(self, outcome: Outcome, latency: float, tf: str, state: SearchState) -> None:
        """Say what became of the images, and how the next ones are searched for."""
        about_image = image_status(self._image_name, outcome, latency, tf)
        about_search = search_status(self._search_name, state, paused=False)
        stamp = outcome.frames.stamp
        self._status.publish(diagnostic_array(stamp, about_image, about_search))
        wanted = self._config.debug.publish_image and self._debug.get_subscription_count() > 0
        if wanted and outcome.pixels:
            self._debug.publish(debug_message(outcome))

    def publish_state(self, state: SearchState, paused: bool) -> None:
        """Say how the next images are searched for, as that has changed without one."""
        now = self._node.get_clock().now().nanoseconds
        about_search = search_status(self._search_name, state, paused)
        self._status.publish(diagnostic_array(now, about_search))

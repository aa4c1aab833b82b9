"""Everything that exists while the node is configured: one map, its inputs, outputs and worker."""

from __future__ import annotations

import traceback

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from deviloc_ros.ros.camera_input import CameraInput
from deviloc_ros.ros.debug import debug_message
from deviloc_ros.ros.diagnostics import Setting, Statistics, frame_status
from deviloc_ros.ros.extrinsics import Extrinsics
from deviloc_ros.ros.frame_set import Frame, FrameSet
from deviloc_ros.ros.messages import pose_message
from deviloc_ros.ros.outcome import Fix, NodeRefusal, Outcome, Refusal
from deviloc_ros.ros.parameters import NodeConfig
from deviloc_ros.ros.processing import ImageLocalizer, process
from deviloc_ros.ros.tf_output import TfOutput
from deviloc_ros.ros.transforms import transform_lookup
from deviloc_ros.ros.worker import NewestItemWorker


class Session:
    """Frames go from the executor's thread to the worker's, results from there to the topics."""

    def __init__(self, node: LifecycleNode, config: NodeConfig, localizer: ImageLocalizer) -> None:
        """Make publishers, and listen to what may come before activation."""
        self._node = node
        self._config = config
        self._localizer = localizer
        self._name = f"{node.get_fully_qualified_name().lstrip('/')}: localization"
        self._transforms = transform_lookup(node)
        self._extrinsics = Extrinsics(config, self._transforms)
        self._tf_output = TfOutput(config, localizer.map, self._transforms)
        self._input = CameraInput(node, config.image, self._on_frame)
        self._inputs = {"": self._input}
        self._statistics = Statistics()
        self._worker: NewestItemWorker[FrameSet] | None = None
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(
            depth=10,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._pose = node.create_lifecycle_publisher(PoseWithCovarianceStamped, "~/pose", reliable)
        self._tf = node.create_lifecycle_publisher(
            TFMessage, "/tf", QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        )
        self._status = node.create_lifecycle_publisher(DiagnosticArray, "~/status", latched)
        self._debug = node.create_lifecycle_publisher(Image, "~/debug_image", QoSProfile(depth=1))
        properties = localizer.map
        self._setting = Setting(
            f"{config.map.path} ({'' if properties.metric else 'not '}metric, "
            f"{'' if properties.gravity_aligned else 'not '}aligned to gravity)",
            f"{self._input.topic} ({self._input.converter})",
            self._tf_output.withheld,
        )

    def activate(self) -> None:
        """Start to localize; counters begin anew."""
        self._statistics = Statistics()
        self._worker = NewestItemWorker(self._localize, "localizer")
        self._input.start()

    def deactivate(self) -> None:
        """Stop; a frame in hand is finished first."""
        self._input.stop()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def close(self) -> None:
        """Give everything back."""
        self.deactivate()
        self._input.close()
        self._transforms.close()
        for publisher in (self._pose, self._tf, self._status, self._debug):
            self._node.destroy_lifecycle_publisher(publisher)

    def report(self) -> tuple[bytes, str, dict[str, str]]:
        """Return level, message and values for /diagnostics."""
        dropped = self._worker.dropped if self._worker is not None else 0
        return self._statistics.report(
            self._setting, self._config.diagnostics, self._input.calibrated, dropped
        )

    def _on_frame(self, frame: Frame) -> None:
        if self._worker is not None:
            self._statistics.count_received()
            self._worker.submit(FrameSet.of(frame))

    def _localize(self, frames: FrameSet) -> None:
        """Do all that a set of images needs; runs in the worker's thread, lets nothing escape."""
        try:
            outcome = process(frames, self._inputs, self._extrinsics, self._localizer)
            self._publish(outcome)
        except Exception as error:
            self._node.get_logger().error(f"image {frames.stamp} ns: {traceback.format_exc()}")
            details = f"{type(error).__name__}: {error}"
            self._publish(Outcome(frames, Refusal(NodeRefusal.INTERNAL_ERROR, details)))

    def _publish(self, outcome: Outcome) -> None:
        stamp, tf = outcome.frames.stamp, ""
        if isinstance(outcome.result, Fix):
            pose = outcome.result.pose
            self._pose.publish(pose_message(self._config.frames.map, stamp, pose))
            transform = self._tf_output.transform(pose.map_from_base, stamp)
            if isinstance(transform, str):
                tf = transform
            else:
                tf = f"{transform.header.frame_id} -> {transform.child_frame_id}"
                self._tf.publish(TFMessage(transforms=[transform]))
        latency = (self._node.get_clock().now().nanoseconds - stamp) * 1e-9
        self._statistics.count(outcome, latency, self._config.diagnostics.max_latency, tf)
        self._status.publish(frame_status(self._name, outcome, latency, tf))
        wanted = self._config.debug.publish_image and self._debug.get_subscription_count() > 0
        if wanted and outcome.pixels:
            self._debug.publish(debug_message(outcome))

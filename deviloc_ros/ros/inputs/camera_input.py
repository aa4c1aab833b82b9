"""One camera's topics: images in, with the calibration that belongs to them."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from deviloc_ros.messages.rectification import rectification
from deviloc_ros.messages.repeated_stamps import why_repeated
from deviloc_ros.messages.stamped import frame_of, stamp_ns
from deviloc_ros.robot.calibration import CameraCalibration, InfoCalibration, NoCalibration
from deviloc_ros.robot.frame_set import Frame
from deviloc_ros.robot.told_once import ToldOnce
from deviloc_ros.ros.config.node_config import ImageConfig


class CameraInput:
    """Subscribes to `image` (or `image/compressed`) and `camera_info`, below the camera's name.

    camera_info is listened to from the start; images come between `start` and `stop`.
    """

    def __init__(
        self,
        node: LifecycleNode,
        config: ImageConfig,
        name: str,
        on_frame: Callable[[Frame], None],
    ) -> None:
        """Subscribe to camera_info; an empty name is that of a single camera."""
        self._node = node
        self._name = name
        self._prefix = f"{name}/" if name else ""
        self._config = config
        self._on_frame = on_frame
        self._calibration: CameraCalibration = NoCalibration(self.info_topic)
        self._decisions = ToldOnce(lambda text: node.get_logger().info(text))
        self._doubts = ToldOnce(lambda text: node.get_logger().warning(text))
        self._last_stamp = -1
        self.decided = ""
        """Which calibration holds, and why; empty before one has come."""
        self._images: Subscription[Image | CompressedImage] | None = None
        volatile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._infos = [
            node.create_subscription(
                CameraInfo, f"{self._prefix}camera_info", self._on_info, volatile
            )
        ]

    @property
    def topic(self) -> str:
        """The image topic, remaps applied; as in image_transport, remapping `image` is enough."""
        name = self._node.resolve_topic_name(f"{self._prefix}image")
        if self._config.transport == "compressed":
            name = self._node.resolve_topic_name(f"{name}/compressed")
        return str(name)

    @property
    def info_topic(self) -> str:
        """The camera_info topic, remaps applied."""
        return str(self._node.resolve_topic_name(f"{self._prefix}camera_info"))

    @property
    def calibrated(self) -> bool:
        """Whether a camera_info has come."""
        return not isinstance(self._calibration, NoCalibration)

    def start(self) -> None:
        """Let images in."""
        self._listen_to_latched()
        compressed = self._config.transport == "compressed"
        self._images = self._node.create_subscription(
            CompressedImage if compressed else Image,
            self.topic,
            self._on_image,
            QoSProfile(
                history=HistoryPolicy.KEEP_LAST,
                depth=self._config.depth,
                reliability=ReliabilityPolicy.RELIABLE
                if self._config.reliability == "reliable"
                else ReliabilityPolicy.BEST_EFFORT,
            ),
        )

    def stop(self) -> None:
        """Let no more images in."""
        if self._images is not None:
            self._node.destroy_subscription(self._images)
            self._images = None

    def close(self) -> None:
        """Stop listening at all."""
        self.stop()
        for subscription in self._infos:
            self._node.destroy_subscription(subscription)

    def _on_info(self, message: CameraInfo) -> None:
        decided = rectification(self._config.rectified, self.topic, message)
        self.decided = str(decided)
        # At start, and whenever a calibration leads to something else.
        say = self._doubts if decided.doubtful else self._decisions
        say.tell(self.decided, f"{self.topic}: {self.decided}")
        self._calibration = InfoCalibration(message, decided.rectified)

    def _listen_to_latched(self) -> None:
        """Ask for a camera_info that was sent before we came, if its publisher keeps it.

        Asking a publisher that does not would make both sides warn of incompatible QoS.
        """
        latched = any(
            publisher.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
            for publisher in self._node.get_publishers_info_by_topic(self.info_topic)
        )
        if latched and len(self._infos) == 1:
            qos = QoSProfile(
                depth=1,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL,
            )
            self._infos.append(
                self._node.create_subscription(
                    CameraInfo, f"{self._prefix}camera_info", self._on_info, qos
                )
            )

    def _on_image(self, message: Image | CompressedImage) -> None:
        if not self.calibrated:
            self._listen_to_latched()
        stamp, frame_id = stamp_ns(message.header.stamp), frame_of(message.header.frame_id)
        if stamp in (0, self._last_stamp):
            self._doubts.tell("stamps", f"{self.topic}: {why_repeated(stamp)}")
        self._last_stamp = stamp
        self._on_frame(Frame(self._name, message, stamp, frame_id, self._calibration))

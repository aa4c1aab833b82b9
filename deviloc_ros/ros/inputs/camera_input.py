"""One camera's topics: images in, with the calibration that belongs to them."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.camera_info import camera_from_info, rectified_from_camera
from deviloc_ros.messages.image import Pixels
from deviloc_ros.robot.frame_set import Frame
from deviloc_ros.ros.config.node_config import ImageConfig
from deviloc_ros.ros.inputs.images import image_converter
from deviloc_ros.ros.messages import stamp_ns


class NoCalibrationError(LookupError):
    """No camera_info has come yet."""


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
        self._convert, self.converter = image_converter()
        self._info: CameraInfo | None = None
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
        return self._info is not None

    @property
    def rectified(self) -> bool:
        """Whether the images are rectified, by parameter or by the topic's resolved name."""
        if self._config.rectified == "auto":
            return "rect" in self.topic
        return self._config.rectified == "yes"

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

    def pixels(self, frame: Frame) -> Pixels:
        """Return the pixels of a frame: (H, W) gray or (H, W, 3) RGB, uint8.

        Raises:
            InputError: unknown encoding, or a message that contradicts itself.
        """
        return self._convert(frame.message)

    def calibration(self, pixels: Pixels) -> tuple[Camera, Transform]:
        """Return the camera of these pixels, and its rotation optical_from_camera.

        The rotation is CameraInfo's R for rectified images, else the identity.

        Raises:
            NoCalibrationError: no camera_info yet.
            InputError: the camera_info cannot be used, or does not belong to this image.
        """
        info = self._info
        if info is None:
            raise NoCalibrationError(f"no message on {self.info_topic} yet")
        size = pixels.shape[1], pixels.shape[0]
        camera = camera_from_info(info, size, self.rectified)
        if not self.rectified:
            return camera, Transform.identity()
        return camera, rectified_from_camera(info).inverse()

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

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
        if self._info is None:
            self._listen_to_latched()
        header = message.header
        frame_id = header.frame_id.lstrip("/")
        self._on_frame(Frame(self._name, message, stamp_ns(header.stamp), frame_id))

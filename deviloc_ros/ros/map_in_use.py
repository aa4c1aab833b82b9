"""Which map the node localizes in, told to those who show it."""

from __future__ import annotations

from diagnostic_msgs.msg import KeyValue
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from deviloc_ros.ros.node.loaded_map import LoadedMap

LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class MapInUse:
    """Publishes file and id of the map, latched, from configuration on and after each reload.

    The publisher is not one of the lifecycle's: a map is loaded before the node is active.
    """

    def __init__(self, node: LifecycleNode, loaded: LoadedMap) -> None:
        """Make the publisher and say which map it is."""
        self._node = node
        self._publisher = node.create_publisher(KeyValue, "~/map_file", LATCHED)
        self.tell(loaded)

    def tell(self, loaded: LoadedMap) -> None:
        """Say which map is in use from now on; from any thread."""
        self._publisher.publish(KeyValue(key=loaded.path, value=loaded.id))

    def close(self) -> None:
        """Give the publisher back."""
        self._node.destroy_publisher(self._publisher)

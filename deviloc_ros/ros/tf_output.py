"""Which transform a pose of the base becomes: map->odom, map->base, or none and why."""

from __future__ import annotations

from geometry_msgs.msg import TransformStamped

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.geometry.transform_buffer import TransformUnavailableError
from deviloc_ros.ros.messages import transform_message
from deviloc_ros.ros.parameters import NodeConfig
from deviloc_ros.ros.processing import MapProperties
from deviloc_ros.ros.transforms import TransformLookup


class TfOutput:
    """Decides on the transform of each fix.

    A frame has one parent, so map->base is published only while nothing was ever seen to join odom
    and base: after that the base belongs to odom.
    """

    def __init__(
        self, config: NodeConfig, map_properties: MapProperties, transforms: TransformLookup
    ) -> None:
        """Take the parameters, the map's properties and a source of transforms."""
        self._frames = config.frames
        self._tf = config.tf
        self._transforms = transforms
        self.withheld = ""
        """Why this map gives no transform at all; empty if it does."""
        if config.tf.publish == "none":
            self.withheld = "tf.publish is none"
        elif not config.tf.allow_non_metric_map:
            faults = [
                fault
                for fault, right in (
                    ("not metric", map_properties.metric),
                    ("not aligned to gravity", map_properties.gravity_aligned),
                )
                if not right
            ]
            if faults:
                self.withheld = (
                    f"the map is {' and '.join(faults)}; use `deviloc map align`, or set "
                    "tf.allow_non_metric_map"
                )
        self._odom_seen = False

    def transform(self, map_from_base: Transform, stamp: int) -> TransformStamped | str:
        """Return the message for /tf, or the reason why there is none.

        Args:
            map_from_base: the robot's pose.
            stamp: of the image, nanoseconds.
        """
        if self.withheld:
            return self.withheld
        frames = self._frames
        if self._tf.publish == "map_to_base":
            return transform_message(frames.map, frames.base, stamp, map_from_base)
        if not self._has_odom():
            if self._tf.without_odom == "map_to_base":
                return transform_message(frames.map, frames.base, stamp, map_from_base)
            return f"no transform joins {frames.odom!r} and {frames.base!r} yet"
        try:
            odom_from_base = self._transforms.lookup(
                frames.odom, frames.base, stamp, self._tf.lookup_timeout
            )
        except TransformUnavailableError as error:
            return str(error)
        map_from_odom = map_from_base @ odom_from_base.inverse()
        until = stamp + round(self._tf.tolerance * 1e9)
        return transform_message(frames.map, frames.odom, until, map_from_odom)

    def _has_odom(self) -> bool:
        if not self._odom_seen and self._frames.odom:
            self._odom_seen = self._transforms.connected(self._frames.odom, self._frames.base)
        return self._odom_seen

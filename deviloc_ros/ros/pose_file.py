"""Saves the last pose when the node stops, and offers it when it begins again."""

from __future__ import annotations

from pathlib import Path

from rclpy.node import Node

from deviloc_ros.errors import InputError
from deviloc_ros.ros.config.state_config import PriorConfig
from deviloc_ros.ros.inputs.priors import Priors
from deviloc_ros.ros.inputs.saved_pose import load_pose, save_pose


class PoseFile:
    """`prior.file`; what is wrong with it is logged and ends nothing."""

    def __init__(self, node: Node, priors: Priors) -> None:
        """Take the priors whose pose is meant."""
        self._node = node
        self._priors = priors

    def save(self, config: PriorConfig, map_id: str) -> None:
        """Write the last pose, if there is one and a file is named."""
        pose = self._priors.last_pose()
        if not config.file or pose is None or not map_id:
            return
        try:
            save_pose(Path(config.file).expanduser(), map_id, pose)
        except InputError as error:
            self._node.get_logger().error(f"the last pose is not saved: {error}")

    def restore(self, config: PriorConfig, map_id: str) -> None:
        """Offer the saved pose to the priors, if that is asked for."""
        if not config.restore:
            return
        try:
            pose = load_pose(
                Path(config.file).expanduser(),
                map_id,
                self._node.get_clock().now().nanoseconds,
                config.restored_position_sigma,
                config.restored_rotation_sigma,
            )
        except InputError as error:
            self._node.get_logger().warning(f"the last pose is not restored: {error}")
            return
        self._priors.offered(pose, f"restored from {config.file}")

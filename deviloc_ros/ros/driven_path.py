"""The poses of a drive as one message, thinned so that hours stay small."""

from __future__ import annotations

from collections import deque

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path

from deviloc_ros.ros.messages import stamp_ns


class DrivenPath:
    """Collects poses.

    Args:
        spacing: least distance between two of them, metres.
        length: how many are kept; the oldest go.
    """

    def __init__(self, spacing: float, length: int) -> None:
        """Start empty."""
        self._spacing = spacing
        self._poses: deque[PoseStamped] = deque(maxlen=length)
        self._last_stamp = 0

    def add(self, message: PoseWithCovarianceStamped) -> bool:
        """Take a pose in; say whether the path has changed.

        A stamp before the last one, as when a bag loops, begins a new path.
        """
        stamp = stamp_ns(message.header.stamp)
        if stamp < self._last_stamp:
            self._poses.clear()
        self._last_stamp = stamp
        if self._poses:
            old, new = self._poses[-1].pose.position, message.pose.pose.position
            moved = np.linalg.norm([new.x - old.x, new.y - old.y, new.z - old.z])
            if moved < self._spacing:
                return False
        self._poses.append(PoseStamped(header=message.header, pose=message.pose.pose))
        return True

    def clear(self) -> None:
        """Begin a new path: poses in another map have another meaning."""
        self._poses.clear()

    def message(self) -> Path:
        """Return the path, in the frame and with the stamp of its newest pose."""
        poses = list(self._poses)
        return Path(header=poses[-1].header, poses=poses) if poses else Path()

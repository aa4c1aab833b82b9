"""Transforms, poses and times as ROS messages; what is read out of them stands in `messages/`.

Every float is cast: an int or a numpy scalar in a float64 field is sent as garbage.
"""

from __future__ import annotations

from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped

from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.base_pose import BasePose


def stamp_message(nanoseconds: int) -> TimeMessage:
    """Return nanoseconds as a stamp."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return TimeMessage(sec=seconds, nanosec=rest)


def transform_message(
    parent: str, child: str, stamp: int, parent_from_child: Transform
) -> TransformStamped:
    """Return a transform for /tf at a stamp, nanoseconds."""
    message = TransformStamped()
    message.header.frame_id = parent
    message.header.stamp = stamp_message(stamp)
    message.child_frame_id = child
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = (float(value) for value in parent_from_child.translation)
    q.x, q.y, q.z, q.w = (float(value) for value in parent_from_child.quaternion_xyzw)
    return message


def pose_message(frame: str, stamp: int, pose: BasePose) -> PoseWithCovarianceStamped:
    """Return map_from_base as a pose in the map frame, covariance row-major x y z rx ry rz."""
    message = PoseWithCovarianceStamped()
    message.header.frame_id = frame
    message.header.stamp = stamp_message(stamp)
    p, q = message.pose.pose.position, message.pose.pose.orientation
    p.x, p.y, p.z = (float(value) for value in pose.map_from_base.translation)
    q.x, q.y, q.z, q.w = (float(value) for value in pose.map_from_base.quaternion_xyzw)
    message.pose.covariance = pose.covariance.ravel().astype(float).tolist()
    return message

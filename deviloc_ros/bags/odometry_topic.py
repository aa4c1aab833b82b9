"""Where a bag has odometry: in /tf, or in a topic that takes its place."""

from __future__ import annotations

from deviloc_ros.bags.reader import ODOMETRY_TYPE, Bag
from deviloc_ros.bags.transforms import tf_topics
from deviloc_ros.errors import InputError
from deviloc_ros.messages.stamped import frame_of


def odometry_topic(bag: Bag, odom: str, wanted: str | None) -> tuple[str | None, str]:
    """Return the topic of odometry that takes the place of /tf, and where odometry comes from.

    Args:
        bag: opened.
        odom: the odometry frame; empty: there is none.
        wanted: topic of nav_msgs/Odometry; None: /tf, else the only topic in that frame.

    Raises:
        InputError: the wanted topic has no odometry in that frame.
    """
    frames = {
        topic.name: frame_of(bag.first(topic.name)[1].header.frame_id)
        for topic in bag.topics.values()
        if topic.type == ODOMETRY_TYPE and topic.count
    }
    listed = ", ".join(f"{name} (in {frame!r})" for name, frame in frames.items())
    if wanted is not None:
        topic = wanted if wanted in frames else f"/{wanted}"
        if not odom or frames.get(topic) != odom:
            raise InputError(
                f"{bag.path}: --odometry {wanted}: no nav_msgs/Odometry in frame {odom!r} there; "
                f"there are: {listed or 'none'}; --odom-frame names the frame"
            )
        return topic, f"{topic} (nav_msgs/Odometry)"
    if not odom:
        return None, "none: frames.odom is empty"
    if _in_tf(bag, odom):
        return None, "/tf"
    fitting = [name for name, frame in frames.items() if frame == odom]
    if len(fitting) == 1:
        return fitting[0], f"{fitting[0]} (nav_msgs/Odometry), as no transform names {odom!r}"
    hint = "choose with --odometry" if fitting else "--odom-frame names the frame"
    others = f"; there are: {listed}; {hint}" if frames else ""
    return None, f"none: no transform names {odom!r}{others}"


def _in_tf(bag: Bag, frame: str) -> bool:
    """Whether any transform of the bag names a frame."""
    moving, fixed = tf_topics(bag)
    return any(
        frame in (frame_of(item.header.frame_id), frame_of(item.child_frame_id))
        for _, message in bag.read([*moving, *fixed], lambda *_: None)
        for item in message.transforms
    )

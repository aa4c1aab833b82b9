"""Which topics of a bag have the images, their calibration, and satellite fixes."""

from __future__ import annotations

from deviloc_ros.bags.reader import FIX_TYPE, Bag, Topic
from deviloc_ros.errors import InputError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"


def image_topic(bag: Bag, wanted: str | None = None) -> Topic:
    """Return the image topic: the one that is wanted, or the only one there is.

    Raises:
        InputError: none, or several to choose from, or the wanted one is no image topic.
    """
    topics = bag.topics
    images = [topic for topic in topics.values() if topic.type in IMAGE_TYPES and topic.count]
    listed = ", ".join(topic.name for topic in images) or "none"
    if wanted is not None:
        topic = topics.get(wanted) or topics.get(f"/{wanted}")
        if topic is None or topic.type not in IMAGE_TYPES:
            raise InputError(f"{bag.path}: {wanted} is no image topic; there are: {listed}")
        if not topic.count:
            raise InputError(f"{bag.path}: {topic.name} has no messages")
        return topic
    if len(images) != 1:
        hint = "; choose with --topic, one for each camera of a rig" if images else ""
        raise InputError(f"{bag.path}: one image topic is needed; there are: {listed}{hint}")
    return images[0]


def info_topic(
    bag: Bag,
    image: Topic,
    wanted: str | None = None,
    advice: str = "choose with --camera-info, or give --camera "
    "(of a rig: camera_info or camera in --rig FILE)",
) -> Topic:
    """Return the camera_info topic that belongs to an image topic, by image_transport's rule.

    Args:
        image: the image topic.
        wanted: the camera_info's; None: the one beside it.
        advice: what an error says to do.

    Raises:
        InputError: there is none.
    """
    topics = bag.topics
    parent = image.name
    if parent.endswith("/compressed") and image.type.endswith("CompressedImage"):
        parent = parent.removesuffix("/compressed")
    name = wanted or parent.rsplit("/", 1)[0] + "/camera_info"
    topic = topics.get(name) or topics.get(f"/{name}")
    if topic is None or topic.type != CAMERA_INFO_TYPE or not topic.count:
        infos = [t.name for t in topics.values() if t.type == CAMERA_INFO_TYPE and t.count]
        raise InputError(
            f"{bag.path}: no camera_info on {name} for {image.name}; there are: "
            f"{', '.join(infos) or 'none'}; {advice}"
        )
    return topic


def fix_topic(bag: Bag, wanted: str | None) -> str | None:
    """Return the topic of fixes: the one wanted, or the only one there is; None: there is none.

    Empty is none, too.

    Raises:
        InputError: several to choose from, or the wanted one has no fixes.
    """
    if wanted == "":
        return None
    found = [item.name for item in bag.topics.values() if item.type == FIX_TYPE and item.count]
    if wanted is not None:
        name = next((name for name in found if name in (wanted, f"/{wanted}")), None)
        if name is None:
            raise InputError(
                f"{bag.path}: {wanted} has no messages of sensor_msgs/NavSatFix; there are: "
                f"{', '.join(found) or 'none'}"
            )
        return name
    if len(found) > 1:
        raise InputError(f"{bag.path}: choose with --fix one of {', '.join(found)}")
    return found[0] if found else None

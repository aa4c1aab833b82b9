"""Which topics of a bag a localization node reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.topics import IMAGE_TYPES, image_topic, info_topic
from deviloc_ros.errors import InputError


@dataclass(frozen=True)
class Sources:
    """What connects a node to the topics of a bag.

    Attributes:
        topics: input topic of the node to topic of the bag.
        compressed: the images are CompressedImage.
        awaited: topics of the bag that need a subscriber before it is played.
    """

    topics: dict[str, str]
    compressed: bool
    awaited: tuple[str, ...]

    @staticmethod
    def find(path: Path, cameras: Sequence[str], image: str, camera_info: str) -> Sources:
        """Look into a bag.

        Args:
            path: the bag.
            cameras: of a rig; empty for a single camera.
            image: its topic, of a rig that below each name; empty: the only one there is.
            camera_info: its topic; empty: beside the images.

        Raises:
            InputError: the bag or a topic is missing.
        """
        topics: dict[str, str] = {}
        awaited: list[str] = []
        kinds = set()
        with Bag(path) as bag:
            for name in cameras or [""]:
                wanted = f"/{name}/{image or 'image'}" if name else image or None
                found = image_topic(bag, wanted)
                info = f"/{name}/{camera_info}" if name and camera_info else camera_info
                calibration = info_topic(bag, found, info or None)
                prefix = f"{name}/" if name else ""
                plain = found.name.removesuffix("/compressed")
                kinds.add(found.type)
                topics[f"{prefix}image"] = plain if found.type == IMAGE_TYPES[1] else found.name
                topics[f"{prefix}camera_info"] = calibration.name
                awaited += [found.name, calibration.name]
            fixed = [name for name in bag.topics if name == "/tf_static"]
        if len(kinds) > 1:
            raise InputError(f"{path}: some cameras are compressed, some are not")
        return Sources(topics, kinds == {IMAGE_TYPES[1]}, (*awaited, *fixed))

    def to_json(self) -> dict[str, Any]:
        """Return JSON-serialisable values."""
        return asdict(self)

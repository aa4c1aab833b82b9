"""Whether maps are alike enough to become one, or tiles of one."""

from __future__ import annotations

from deviloc_ros.errors import InputError
from deviloc_ros.maps.map import Map


def check_alike(first: Map, second: Map, one_frame: bool, advice: str) -> None:
    """Refuse maps that cannot go together.

    Args:
        first: a map.
        second: another one, which an error names.
        one_frame: whether they are said to lie in one frame already.
        advice: the end of an error: what would be right.

    Raises:
        InputError: they are of other kinds.
    """
    of_frame = (
        ("metric", second.metric, first.metric),
        ("z up", second.gravity_aligned, first.gravity_aligned),
    )
    for name, ours, theirs in (
        *(of_frame if one_frame else ()),
        ("reference images to align with", second.alignable, first.alignable),
        ("images for matcher topicfm", second.image_size, first.image_size),
        ("length of descriptors", second.descriptors.shape[1], first.descriptors.shape[1]),
        ("feature settings", second.meta.get("features"), first.meta.get("features")),
    ):
        if ours != theirs:
            raise InputError(
                f"{second.source}: {name}: {ours}, but {theirs} in {first.source}; {advice}"
            )

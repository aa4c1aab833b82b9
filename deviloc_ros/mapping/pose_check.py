"""Whether the poses of a map's images fit what the images show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deviloc_ros.mapping.multiview.matching import SeenAgain, triangulate
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.offset_bias import OffsetBias

# Matches further from their epipolar line are wrong, or their poses are; network pixels.
EPIPOLAR_GATE = 2.5
# Unverified matches of true poses keep to their lines in 48 to 89 % (images 5 m apart on a road,
# images 1 m apart on a street); in 20 to 50 % if each pose is turned by half a degree.
LEAST_SHARE = 0.4


def share_on_epipolar_lines(
    reference_map: Map, seen: Mapping[int, Sequence[SeenAgain]], bias: OffsetBias
) -> float | None:
    """Return the share of matches between references that their poses allow, or None without any.

    Args:
        reference_map: poses, cameras and keypoints; points have no part in it.
        seen: for references by index, what their neighbours see of them.
        bias: of fine offsets.
    """
    errors = [
        triangulate(reference_map, index, again, bias).epipolar_error / again.scale
        for index, found in seen.items()
        for again in found
    ]
    joined = np.concatenate([np.zeros(0), *errors])
    joined = joined[np.isfinite(joined)]
    return float(np.mean(np.abs(joined) < EPIPOLAR_GATE)) if len(joined) else None


def doubt(reference_map: Map) -> str | None:
    """Return what speaks against the poses or intrinsics that a map was made with, if anything."""
    share = reference_map.meta.get("epipolar_share")
    if not isinstance(share, float) or share >= LEAST_SHARE:
        return None
    return (
        f"only {share:.0%} of the matches between images fit the poses and intrinsics (60 to 90 % "
        "are usual): look for wrong time stamps, another frame or another calibration; poses will "
        "be as wrong as those"
    )

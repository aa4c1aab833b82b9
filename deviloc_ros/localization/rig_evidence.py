"""What speaks for the pose of a rig, and for another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.rig_matches import Group, RigMatches
from deviloc_ros.localization.rig_pose import RigHypothesis, estimate_rig_pose
from deviloc_ros.localization.verification import Evidence, image_coverage


def find_rivals(
    best: RigHypothesis, matches: RigMatches, config: LocalizerConfig
) -> list[RigHypothesis]:
    """Return the best pose of the matches that do not agree with the best, if it can count."""
    rest = matches.select(~best.inliers)
    needed = config.verification.max_rival_ratio * best.num_inliers
    if needed > len(rest):
        return []
    rival = estimate_rig_pose(rest, config.pose, config.seed, needed / max(len(rest), 1))
    return [] if rival is None else [rival]


def weigh(
    best: RigHypothesis,
    matches: RigMatches,
    groups: Sequence[Group],
    rivals: Sequence[RigHypothesis],
    covariance: NDArray[np.float64] | None,
    config: LocalizerConfig,
) -> Evidence:
    """Count what speaks for a pose.

    A group with too small a share of inliers neither speaks for the pose nor against it: its camera
    looks at what is not in the map, or its references show another place. If all are such, they are
    counted together.
    """
    ends = np.cumsum([len(group.matches) for group in groups])
    parts = [slice(end - len(group.matches), end) for end, group in zip(ends, groups, strict=True)]
    speaking = np.zeros(len(matches), dtype=np.bool_)
    for part in parts:
        agreeing = best.inliers[part]
        speaking[part] = len(agreeing) > 0 and (
            np.count_nonzero(agreeing) >= config.verification.min_inlier_ratio * len(agreeing)
        )
    if not speaking.any():
        speaking[:] = True
    agreeing = best.inliers & speaking
    depths = matches.in_camera(best.base_from_map)[best.inliers, 2]
    return Evidence(
        map_from_body=best.base_from_map.inverse(),
        covariance=covariance,
        num_inliers=int(np.count_nonzero(agreeing)),
        num_matches=int(np.count_nonzero(speaking)),
        coverage=sum(
            image_coverage(matches.keypoints[agreeing & (matches.owner == index)], camera)
            for index, camera in enumerate(matches.cameras)
        ),
        depth=float(np.median(depths)) if len(depths) else 0.0,
        rivals=[(rival.base_from_map.inverse(), rival.num_inliers) for rival in rivals],
    )

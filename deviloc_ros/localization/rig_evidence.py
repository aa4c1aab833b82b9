"""What speaks for the pose of a rig, and for another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.localization.rig.matches import RigMatches
from deviloc_ros.localization.rig.pose import RigHypothesis
from deviloc_ros.localization.verification import Evidence, image_coverage


def weigh(
    best: RigHypothesis,
    rivals: Sequence[RigHypothesis],
    matches: RigMatches,
    covariance: NDArray[np.float64] | None,
    min_inlier_ratio: float,
) -> Evidence:
    """Count what speaks for a pose.

    A part with too small a share of inliers neither speaks for the pose nor against it: its camera
    looks at what is not in the map, or its references show another place. If all are such, they are
    counted together.

    Args:
        best: the pose.
        rivals: other ones; those of the same place do no harm. Only matches that the pose does not
            explain speak for them: of one camera alone, far points fit many poses.
        matches: of all cameras.
        covariance: (6, 6) of map_from_base, or None where it is not determined.
        min_inlier_ratio: of a part.
    """
    speaking = matches.supporting(best.inliers, min_inlier_ratio)
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
        rivals=[
            (rival.base_from_map.inverse(), int(np.count_nonzero(rival.inliers & ~best.inliers)))
            for rival in rivals
        ],
    )

"""The evidence for one pose of a base from the matches of all cameras on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.rig.matches import RigMatches
from deviloc_ros.localization.rig.pose import RigHypothesis, rig_ransac
from deviloc_ros.localization.verification.evidence import Agreement, pieces_of
from deviloc_ros.localization.verification.second_pose import SecondPose, second_pose
from deviloc_ros.localization.verification.verify import Evidence, image_coverage


def weigh(
    best: RigHypothesis,
    rivals: Sequence[RigHypothesis],
    matches: RigMatches,
    unmerged: RigMatches,
    covariance: NDArray[np.float64] | None,
    config: LocalizerConfig,
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
        unmerged: the same before merging.
        covariance: (6, 6) of map_from_base, or None where it is not determined.
        config: least share of a part's inliers, and how a second pose is looked for.
    """
    speaking = matches.supporting(best.inliers, config.verification.min_inlier_ratio)
    if not speaking.any():
        speaking[:] = True
    agreeing = best.inliers & speaking
    evident = unmerged.select(unmerged.free)
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
        agreement=_agreement(best.base_from_map, evident, config),
        pixels=0.0,
        second=lambda: _second_pose(best, evident, config),
    )


def _second_pose(
    best: RigHypothesis, matches: RigMatches, config: LocalizerConfig
) -> SecondPose | None:
    """Return the base's second pose, of matches that are not merged."""
    # Far from the map's origin the solver would lose digits.
    centre = np.median(matches.points3d, axis=0) if len(matches) else np.zeros(3)
    centred = matches.moved(-centre)

    def solve(chosen: NDArray[np.int64], trials: int) -> Transform | None:
        mask = np.zeros(len(centred), dtype=np.bool_)
        mask[chosen] = True
        found = rig_ransac(centred.select(mask), config.pose, config.seed, trials)
        if found is None:
            return None
        map_from_base = found.inverse()
        return Transform(map_from_base.rotation, map_from_base.translation + centre)

    def errors_of(map_from_base: Transform) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(matches.residuals(map_from_base.inverse()), axis=1))

    agreement = _agreement(best.base_from_map, matches, config)
    max_vote = float(np.log10(config.verification.max_rival_chance))
    return second_pose(agreement, max_vote, solve, errors_of)


def _agreement(base_from_map: Transform, matches: RigMatches, config: LocalizerConfig) -> Agreement:
    """Return how well matches, in pixels of the working size, agree with a pose."""
    areas = np.array([camera.width * camera.height for camera in matches.cameras], dtype=np.float64)
    return Agreement(
        np.asarray(np.linalg.norm(matches.residuals(base_from_map), axis=1)),
        pieces_of(matches.keypoints, 1.0) * len(matches.cameras) + matches.owner,
        areas[matches.owner],
        config.pose.max_reprojection_error,
    )

"""DeViLoc: from a query image and a map to a pose, or to a reason why there is none.

Giang, Song and Jo, "Learning to Produce Semi-dense Correspondences for Visual Localization",
CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.localization.attempt import Attempt
from deviloc_ros.localization.context.escalation import escalate
from deviloc_ros.localization.covariance import pose_covariance
from deviloc_ros.localization.matching.matcher import Matcher
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.pose import agreeing
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import (
    AlignmentEvidence,
    Correspondences,
    FailureReason,
    Localization,
    PoseEstimate,
    PosePrior,
    Query,
    Way,
)
from deviloc_ros.localization.verification.verify import verify


def localize_query(
    stages: Pipeline,
    query: Query,
    prior: PosePrior | None,
    clock: StageClock,
    excluded: NDArray[np.int64] | None = None,
    candidates: NDArray[np.int64] | None = None,
) -> Localization:
    """Localize an image whose features are known.

    Args:
        stages: of the method, and the map.
        query: the image.
        prior: where the camera is thought to be.
        clock: takes the time of every stage.
        excluded: references that are left out.
        candidates: a ranking of references that replaces retrieval.

    Raises:
        DamagedMapError: a tile that the query needs cannot be read.
    """
    # Image retrieval: the K references most like the query, grouped by what they see together.
    with clock("retrieve"):
        left_out = np.union1d(stages.unusable, [] if excluded is None else excluded)
        clusters = stages.retrieve(query.features, prior, left_out.astype(np.int64), candidates)
    if not clusters:
        return Attempt(clock).failed(FailureReason.NO_REFERENCES, "0 references to match with")

    def localize_by(way: Way, match: Matcher) -> Localization:
        # Semi-dense matching with all references in one batch; the Point Inference Network (or what
        # took its place when the map was built) has given every match a 3D point and a confidence.
        matches = match(query, clusters, clock)
        names = [stages.map.references[index].name for index in np.concatenate(clusters)]
        return estimate(stages, query, clusters, matches, prior, Attempt(clock, way, names))

    # Beyond the paper: where nearest neighbours leave doubt, context decides (context/).
    return escalate(stages.ways, localize_by)


def estimate(
    stages: Pipeline,
    query: Query,
    clusters: Sequence[NDArray[np.int64]],
    matches: Correspondences,
    prior: PosePrior | None,
    attempt: Attempt,
) -> Localization:
    """Estimate the pose of a query from its matches with clusters of references."""
    camera, clock = query.camera, attempt.clock
    for cluster in clusters:
        # Confidence-based point aggregation (CPA): one match for each cell of the query.
        with clock("aggregate"):
            of_cluster, merged = stages.aggregate(matches, cluster, camera)
        # Camera pose by RANSAC-PnP.
        with clock("pose"):
            attempt.add(of_cluster, merged, stages.solver.estimate_pose(merged, camera))
    if not attempt.hypotheses:
        return attempt.without_pose()

    # Beyond the paper: matches are moved to where the images themselves agree, and the pose with
    # them (photometric/); how certain it is, and whether to believe it.
    best, *rivals = attempt.hypotheses
    pose, near = best.pose, agreeing(best.pose, best.unmerged, camera)
    aligned: AlignedMatches | None = None
    alignment: AlignmentEvidence | None = None
    if stages.align is not None:
        with clock("align"):
            aligned = stages.align(query, pose.camera_from_map, near)
            pose, covariance, alignment = stages.aligned_pose(best, aligned, camera)
    else:
        with clock("covariance"):
            scales = stages.solver.loss_scale(camera), stages.covariance_scale
            covariance = pose_covariance(pose.camera_from_map, near, camera, *scales)
    with clock("verify"):
        doubt = verify(
            pose, best, rivals, aligned, covariance, camera, prior, stages.map.metric,
            stages.config,
        )  # fmt: skip
    if doubt is not None or covariance is None:
        return attempt.failed(*(doubt or (FailureReason.UNCERTAIN, "the pose is not determined")))
    return PoseEstimate(
        pose.camera_from_map, covariance, best.merged, pose.inliers, matches,
        attempt.references, clock.seconds, alignment, attempt.way,
    )  # fmt: skip

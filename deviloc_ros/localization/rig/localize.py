"""The method for several cameras on one body: one pose from all images of an instant.

Every camera goes through the stages of `deviloc.py` by itself up to its merged 2D-3D matches; the
networks see all images as one batch. Then one generalized RANSAC-PnP, one refinement, one
covariance and one verdict. A camera that sees nothing of the map contributes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.batch import match_together
from deviloc_ros.localization.context.escalation import escalate
from deviloc_ros.localization.matching.matcher import Matcher
from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.pose import MIN_MATCHES
from deviloc_ros.localization.query import Admitted
from deviloc_ros.localization.rig.evidence import weigh
from deviloc_ros.localization.rig.matches import Group, gather
from deviloc_ros.localization.rig.photometric import aligned_rig_pose
from deviloc_ros.localization.rig.pose import (
    RigHypothesis,
    estimate_rig_poses,
    rig_agreeing,
    rig_agreement,
    rig_covariance,
)
from deviloc_ros.localization.rig.types import CameraView, RigEstimate
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    LocalizationFailure,
    PosePrior,
    Query,
    Way,
    concatenated,
)
from deviloc_ros.localization.verification.verify import judge


def localize_rig(
    stages: Pipeline,
    admitted: Admitted,
    base_from_camera: Sequence[Transform],
    prior: PosePrior | None,
) -> RigEstimate | LocalizationFailure:
    """Localize the base from images of one instant; see `Localizer.localize_rig`."""
    clock = admitted.clock
    if not admitted.queries:
        nothing = _failure(FailureReason.BAD_IMAGE, "no image", clock)
        return next(iter(admitted.refused.values()), nothing)
    clusters = {}
    for index, query in admitted.queries.items():
        expected = prior.of_camera(base_from_camera[index]) if prior is not None else None
        with clock("retrieve"):
            found = stages.retrieve(query.features, expected, stages.unusable)
        if found:
            clusters[index] = found
    if not clusters:
        return _failure(FailureReason.NO_REFERENCES, "0 references to match with", clock)
    rig = Rig(admitted.queries, clusters, admitted.cameras, base_from_camera)

    def localize_by(way: Way, match: Matcher) -> RigEstimate | LocalizationFailure:
        return _estimate(stages, rig, way, match, prior, clock)

    return escalate(stages.ways, localize_by)


@dataclass(frozen=True)
class Rig:
    """The images of one instant.

    Attributes:
        queries: those that can be localized, by the index of their camera.
        clusters: of those that resemble references: these, see Retrieval.
        cameras: intrinsics.
        base_from_camera: where the cameras sit.
    """

    queries: Mapping[int, Query]
    clusters: Mapping[int, Sequence[NDArray[np.int64]]]
    cameras: Sequence[Camera]
    base_from_camera: Sequence[Transform]


def _estimate(
    stages: Pipeline,
    images: Rig,
    way: Way,
    match: Matcher,
    prior: PosePrior | None,
    clock: StageClock,
) -> RigEstimate | LocalizationFailure:
    """Estimate the pose of the base by one way of matching."""
    config, cameras, base_from_camera = stages.config, images.cameras, images.base_from_camera
    groups: list[Group] = []
    unmerged: list[tuple[int, Correspondences]] = []
    queries = [images.queries[index] for index in images.clusters]
    found = match_together(match, queries, list(images.clusters.values()), clock)
    for (index, clusters), matches in zip(images.clusters.items(), found, strict=True):
        unmerged.append((index, matches))
        with clock("aggregate"):
            for cluster in clusters:
                _, merged = stages.aggregate(matches, cluster, cameras[index])
                names = tuple(stages.map.references[i].name for i in cluster)
                groups.append(Group(index, merged, names))

    def failed(reason: FailureReason, details: str, num_inliers: int = 0) -> LocalizationFailure:
        return replace(_failure(reason, details, clock, groups, num_inliers), way=way)

    rig = cameras, base_from_camera, config.features.max_size
    together = gather([(group.camera, group.matches) for group in groups], *rig)
    with clock("pose"):
        hypotheses = estimate_rig_poses(together, config.pose, config.verification, config.seed)
    if not hypotheses:
        few = len(together) < MIN_MATCHES
        reason = FailureReason.TOO_FEW_MATCHES if few else FailureReason.NO_POSE
        return failed(reason, f"{len(together)} matches")
    best, *rivals = hypotheses
    every = gather(unmerged, *rig)
    agrees = rig_agreeing(best, together, every)
    if stages.align is not None:
        with clock("align"):
            near = [
                (index, matches.select(agrees[every.part == part]))
                for part, (index, matches) in enumerate(unmerged)
            ]
            pose, covariance = aligned_rig_pose(
                stages.align, images.queries, near, best.base_from_map, base_from_camera,
                config.features.max_size, stages.aligned_uncertainty,
            )  # fmt: skip
            best = rig_agreement(together, pose, config.pose)
    else:
        with clock("covariance"):
            scales = config.pose.loss_scale, stages.covariance_scale
            covariance = rig_covariance(best.base_from_map, every.select(agrees), *scales)
    with clock("verify"):
        evidence = weigh(best, rivals, together, every, covariance, config)
        doubt = judge(evidence, prior, stages.map.metric, config.verification)
    if doubt is not None or covariance is None:
        reason, details = doubt or (FailureReason.UNCERTAIN, "the pose is not determined")
        return failed(reason, details, best.num_inliers)
    map_from_base = best.base_from_map.inverse()
    views = [
        _view(index, groups, best, cameras[index], base_from_camera[index])
        for index in range(len(cameras))
    ]
    return RigEstimate(map_from_base, covariance, views, clock.seconds, way)


def _view(
    index: int,
    groups: Sequence[Group],
    best: RigHypothesis,
    camera: Camera,
    base_from_camera: Transform,
) -> CameraView:
    """Return what a camera contributed."""
    own = [group for group in groups if group.camera == index]
    of_camera = np.repeat([g.camera == index for g in groups], [len(g.matches) for g in groups])
    return CameraView(
        camera,
        base_from_camera.inverse() @ best.base_from_map,
        concatenated([group.matches for group in own]),
        best.inliers[of_camera],
        tuple(name for group in own for name in group.references),
    )


def _failure(
    reason: FailureReason,
    details: str,
    clock: StageClock,
    groups: Sequence[Group] = (),
    num_inliers: int = 0,
) -> LocalizationFailure:
    num_matches = sum(len(group.matches) for group in groups)
    names = tuple(dict.fromkeys(name for group in groups for name in group.references))
    return LocalizationFailure(reason, details, clock.seconds, num_matches, num_inliers, names)

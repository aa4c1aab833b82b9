"""Has everything compiled that is compiled at first use, before the first image comes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import DamagedMapError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.attempt import ClusterPose
from deviloc_ros.localization.covariance import pose_covariance
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.types import Correspondences, Localization, Query

NUM_POINTS = 200


class LocalizeQuery(Protocol):
    """What `Localizer.localize_query` does."""

    def __call__(
        self, query: Query, *, candidates: NDArray[np.int64] | None = None
    ) -> Localization:
        """Localize an image whose features are already extracted."""
        ...


def warm_up(pipeline: Pipeline, localize_query: LocalizeQuery, batches: Sequence[int]) -> None:
    """Load references, localize noise of the map's first image's size, and made-up points.

    Args:
        pipeline: the stages.
        localize_query: runs all of them but the first.
        batches: how many images come at once: a rig's, and fewer when a camera is late.
    """
    camera = pipeline.map.references[0].camera
    shape = camera.height, camera.width
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for _, match in pipeline.ways:
        match.warm_up()
    if pipeline.align is not None:
        pipeline.align.warm_up()
    _estimate_pose(pipeline, camera)
    if pipeline.config.matching.matcher != "xfeat":
        return
    for count in batches:
        features = pipeline.extractor.extract([noise] * count)[0]
        query = Query(features, camera, noise)
        if pipeline.compiles_shapes:
            localize_query(query)
        else:
            # One reference has all compiled that others need; attention to each takes long.
            with contextlib.suppress(DamagedMapError):  # it refuses images, not the start
                pipeline.retrieve(features, None)
            localize_query(query, candidates=np.zeros(1, dtype=np.int64))


def _estimate_pose(pipeline: Pipeline, camera: Camera) -> None:
    """Go through the stages that noise does not get to, as it matches nothing."""
    rng = np.random.default_rng(0)
    size = camera.width, camera.height
    rays = camera.rays(rng.uniform(0.1, 0.9, (NUM_POINTS, 2)) * size)
    in_camera = rays * rng.uniform(2.0, 10.0, (NUM_POINTS, 1))
    keypoints = camera.project(in_camera)
    points = pipeline.map.references[0].camera_from_map.inverse().apply(in_camera)
    number = np.zeros(NUM_POINTS, dtype=np.int64)
    matches = Correspondences(keypoints, points, np.ones(NUM_POINTS), number, keypoints)
    merged = pipeline.solver.aggregate(matches, camera)
    pose = pipeline.solver.estimate_pose(merged, camera)
    if pose is None:
        return
    loss_scale, factor = pipeline.solver.loss_scale(camera), pipeline.covariance_scale
    pose_covariance(pose.camera_from_map, matches, camera, loss_scale, factor)
    if pipeline.align is not None:
        same = np.tile(np.eye(2), (NUM_POINTS, 1, 1))
        some = AlignedMatches(matches, same, number == 0, np.ones(NUM_POINTS))
        pipeline.aligned_pose(ClusterPose(pose, merged, matches), some, camera)

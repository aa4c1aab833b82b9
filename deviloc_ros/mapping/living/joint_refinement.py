"""Bundle adjustment of a finished map, from the observations that it stores.

A map holds where each of its images sees which SfM points. Where two maps were joined, localized
images see points of both. Poses that are free move so that all of it agrees; features move with
their images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pycolmap
from numpy.typing import NDArray

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.sfm.colmap_model import model_of
from deviloc_ros.maps.map import Map

# An image needs no more observations to be placed; points that many images see go first.
MAX_OBSERVATIONS = 400
# Reprojection errors beyond this many pixels are wrong matches.
LOSS_SCALE = 1.0


@dataclass(frozen=True)
class PositionPrior:
    """Where a camera is known to be: position (3,) and its covariance (3, 3), map frame."""

    position: NDArray[np.float64]
    covariance: NDArray[np.float64]


def refine_jointly(
    joined: Map,
    free: NDArray[np.bool_],
    held_points: int,
    priors: Mapping[int, PositionPrior],
) -> Map:
    """Return the map with poses and points adjusted to its observations and to priors.

    Intrinsics stay. Something has to hold the frame: images that are not free, or priors.

    Args:
        joined: the map.
        free: (R,) which references may move.
        held_points: so many of the points, from the first on, stay where they are.
        priors: by index of the reference; of those that are free.
    """
    rows, images = _chosen(joined, free)
    model = model_of(
        [
            PosedImage(str(i), joined.references[i].camera, joined.references[i].camera_from_map)
            for i in images
        ]
    )
    point_ids = _add_points(model, joined, images, rows)
    config = pycolmap.BundleAdjustmentConfig()
    with_prior = []
    for number, index in enumerate(images, start=1):
        image = model.image(number)
        config.add_image(number)
        if not free[index]:
            config.set_constant_rig_from_world_pose(image.frame_id)
        elif index in priors:
            with_prior.append(
                pycolmap.PosePrior(
                    corr_data_id=image.data_id,
                    position=priors[index].position,
                    position_covariance=priors[index].covariance,
                    coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
                )
            )
    for camera_id in model.cameras:
        config.set_constant_cam_intrinsics(camera_id)
    for point, point_id in point_ids.items():
        if point < held_points:
            config.add_constant_point(point_id)
    options = pycolmap.BundleAdjustmentOptions(print_summary=False)
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = LOSS_SCALE
    if with_prior:
        pycolmap.create_pose_prior_bundle_adjuster(
            options, pycolmap.PosePriorBundleAdjustmentOptions(), config, with_prior, model
        ).solve()
    else:
        pycolmap.create_default_bundle_adjuster(options, config, model).solve()
    poses = {
        index: Transform.from_matrix(model.image(number).cam_from_world().matrix())
        for number, index in enumerate(images, start=1)
        if free[index]
    }
    points = {
        point: np.asarray(model.point3D(point_id).xyz)
        for point, point_id in point_ids.items()
        if point >= held_points
    }
    return _moved(joined, poses, points, held_points)


def _chosen(joined: Map, free: NDArray[np.bool_]) -> tuple[dict[int, NDArray[np.int64]], list[int]]:
    """Return which observations of which references are adjusted, and these references.

    They are those of points that a free reference sees, and another one too.
    """
    points = np.asarray(joined.observation_points, dtype=np.int64)
    offsets = np.asarray(joined.observation_offsets)
    viewer = np.repeat(np.arange(len(joined.references)), np.diff(offsets))
    seen_by_free = np.zeros(len(joined.point_array), dtype=np.bool_)
    seen_by_free[points[free[viewer]]] = True
    length = np.bincount(points, minlength=len(joined.point_array))
    rows: dict[int, NDArray[np.int64]] = {}
    for index in range(len(joined.references)):
        own = np.arange(offsets[index], offsets[index + 1])
        own = own[seen_by_free[points[own]] & (length[points[own]] > 1)]
        longest = np.argsort(-length[points[own]], kind="stable")[:MAX_OBSERVATIONS]
        if len(own):
            rows[index] = own[np.sort(longest)]
    return rows, sorted(rows)


def _add_points(
    model: pycolmap.Reconstruction,
    joined: Map,
    images: list[int],
    rows: Mapping[int, NDArray[np.int64]],
) -> dict[int, int]:
    """Add points with their tracks to the model; return their ids by their index in the map."""
    tracks: dict[int, pycolmap.Track] = {}
    for number, index in enumerate(images, start=1):
        pixels = np.asarray(joined.observation_pixels[rows[index]], dtype=np.float64)
        model.image(number).points2D = pycolmap.Point2DList([pycolmap.Point2D(xy) for xy in pixels])
        for place, point in enumerate(joined.observation_points[rows[index]].tolist()):
            tracks.setdefault(point, pycolmap.Track()).add_element(number, place)
    where = joined.points3d
    return {
        point: model.add_point3D(where[point], track)
        for point, track in tracks.items()
        if track.length() > 1
    }


def _moved(
    joined: Map,
    poses: Mapping[int, Transform],
    points: Mapping[int, NDArray[np.float64]],
    held_points: int,
) -> Map:
    """Return the map with these poses and points; what else there is moves with its image."""
    references = list(joined.references)
    features = np.array(joined.feature_points)
    where = joined.points3d
    left = np.ones(len(where), dtype=np.bool_)
    left[:held_points] = False
    left[list(points)] = False
    for index, pose in poses.items():
        move = pose.inverse() @ references[index].camera_from_map
        references[index] = replace(references[index], camera_from_map=pose)
        own = joined.features_of(index)
        at = np.asarray(features[own], dtype=np.float64) + joined.origin
        features[own] = (move.apply(at) - joined.origin).astype(np.float32)
        seen = np.asarray(joined.observation_points[joined.observations_of(index)])
        alone = np.unique(seen[left[seen]])
        where[alone] = move.apply(where[alone])
        left[alone] = False
    for point, position in points.items():
        where[point] = position
    return replace(
        joined,
        references=references,
        feature_points=features,
        point_array=(where - joined.origin).astype(np.float32),
    )

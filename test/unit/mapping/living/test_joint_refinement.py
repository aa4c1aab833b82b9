"""Two maps that were joined become one shape: the second bends to the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation
from small_map import small_map

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.living.joint_refinement import PositionPrior, refine_jointly
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

CAMERA = Camera("PINHOLE", 640, 480, (400.0, 400.0, 320.0, 240.0))
COUNT, FIRST = 12, 6
SPOTS = np.array([[1.0, 0, 5], [0, 1.0, 5]])
ORIGIN = np.array([3.0, 0.0, 0.0])


def true_pose(index: int) -> Transform:
    """Return camera_from_map of cameras along x that look along y."""
    look = Rotation.from_matrix([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    return Transform(look, np.array([0.8 * index, 0.0, 0.0])).inverse()


def bent(index: int) -> Transform:
    """Return the same with the drift of the second half: it turns and leaves the line."""
    if index < FIRST:
        return true_pose(index)
    far = index - FIRST
    place = true_pose(index).inverse()
    drift = Transform(Rotation.from_euler("z", 0.004 * far), np.array([0, 0.01 * far**2, 0]))
    return (drift @ place).inverse()


def joined_map() -> tuple[Map, np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Return a map whose second half is bent, with true observations, and its true points.

    Points of the first half come first. Images near the seam see points of both halves.
    """
    rng = np.random.default_rng(1)
    points = rng.uniform((-2, 4, -2), (11, 9, 2), (600, 3))
    points = points[np.argsort(points[:, 0] > 4.4, kind="stable")]
    held = int((points[:, 0] <= 4.4).sum())
    offsets, seen, pixels = [0], [], []
    wrong = points.copy()
    for index in range(COUNT):
        in_camera = true_pose(index).apply(points)
        at = CAMERA.project(in_camera)
        inside = ((at > 0) & (at < (640, 480))).all(axis=1) & (in_camera[:, 2] > 0)
        seen.append(np.flatnonzero(inside))
        pixels.append(at[inside] + rng.normal(0, 0.3, (inside.sum(), 2)))
        offsets.append(offsets[-1] + len(seen[-1]))
        if index >= FIRST:
            new = seen[-1][seen[-1] >= held]
            wrong[new] = bent(index).inverse().apply(true_pose(index).apply(points[new]))
    features = np.concatenate([bent(i).inverse().apply(SPOTS)
                               for i in range(COUNT)])  # fmt: skip
    whole = small_map(0, references=COUNT, features=2)
    built = replace(
        whole,
        references=[Reference(f"{i}.jpg", CAMERA, bent(i)) for i in range(COUNT)],
        feature_points=(features - ORIGIN).astype(np.float32),
        point_array=(wrong - ORIGIN).astype(np.float32),
        observation_offsets=np.array(offsets, dtype=np.int64),
        observation_points=np.concatenate(seen).astype(np.int32),
        observation_pixels=np.concatenate(pixels).astype(np.float32),
        origin=ORIGIN,
    )
    return built, points


def errors(found: Map) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(
        [
            r.camera_from_map.inverse().distance_to(true_pose(i).inverse())[0]
            for i, r in enumerate(found.references)
        ]
    )


def test_the_second_map_bends_to_the_first_which_stays() -> None:
    built, points = joined_map()
    held = int((points[:, 0] <= 4.4).sum())
    assert errors(built).max() > 0.2
    free = np.arange(COUNT) >= FIRST
    refined = refine_jointly(built, free, held, {})
    assert errors(refined)[FIRST:].max() < 0.01
    for before, after in zip(built.references[:FIRST], refined.references, strict=False):
        np.testing.assert_array_equal(before.camera_from_map.matrix, after.camera_from_map.matrix)
    np.testing.assert_array_equal(built.point_array[:held], refined.point_array[:held])
    off = np.linalg.norm(refined.points3d - points, axis=1)
    often = np.bincount(built.observation_points, minlength=len(points)) > 3
    assert np.median(off[held:][often[held:]]) < 0.02
    # Features stay where their images see them.
    for index in range(COUNT):
        own = refined.features_of(index)
        at = np.asarray(refined.feature_points[own], np.float64) + refined.origin
        in_camera = refined.references[index].camera_from_map.apply(at)
        np.testing.assert_allclose(in_camera, SPOTS, atol=1e-4)


def test_priors_hold_the_frame_where_nothing_else_does() -> None:
    built, _ = joined_map()
    priors = {
        i: PositionPrior(true_pose(i).inverse().translation, 1e-4 * np.eye(3))
        for i in range(0, COUNT, 3)
    }
    refined = refine_jointly(built, np.ones(COUNT, dtype=np.bool_), 0, priors)
    assert errors(refined).max() < 0.02

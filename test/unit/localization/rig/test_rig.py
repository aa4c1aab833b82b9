"""A rig on the simulated street: better than each of its cameras, and sound where they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rig_scene import VALUES, RigScene

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.localization.types import (
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
)
from deviloc_ros.mapping.cut import select
from deviloc_ros.mapping.self_calibration import calibrate
from deviloc_ros.maps.map import Map
from deviloc_ros.simulation.rig_drive import RigMoment


@pytest.fixture(scope="module")
def good(
    rig_scene: RigScene, rig_results: list[RigEstimate | LocalizationFailure]
) -> tuple[RigMoment, RigEstimate]:
    """The moment with most inliers."""
    pairs = [
        (moment, estimate)
        for moment, estimate in zip(rig_scene.second, rig_results, strict=True)
        if isinstance(estimate, RigEstimate)
    ]
    return max(pairs, key=lambda pair: pair[1].num_inliers)


def localized(
    localizer: Localizer,
    scene: RigScene,
    moment: RigMoment,
    names: tuple[str, ...] = ("left", "rear", "right"),
    prior: PosePrior | None = None,
) -> RigEstimate | LocalizationFailure:
    cameras = [item for item in scene.rig if item.name in names]
    return localizer.localize_rig(
        [moment.images[item.name] for item in cameras],
        [item.camera for item in cameras],
        [item.base_from_camera for item in cameras],
        prior,
    )


def test_the_rig_beats_its_best_camera(
    rig_localizer: Localizer,
    rig_scene: RigScene,
    rig_results: list[RigEstimate | LocalizationFailure],
) -> None:
    """In the share of moments with a pose, and in the median error over what it localized."""
    alone: dict[str, list[float]] = {item.name: [] for item in rig_scene.rig}
    together, normalised = [], []
    for moment, estimate in zip(rig_scene.second, rig_results, strict=True):
        for item in rig_scene.rig:
            single = rig_localizer.localize(moment.images[item.name], item.camera)
            if isinstance(single, PoseEstimate):
                map_from_base = single.map_from_camera @ item.base_from_camera.inverse()
                alone[item.name].append(map_from_base.distance_to(moment.map_from_base)[0])
        if isinstance(estimate, RigEstimate):
            together.append(estimate.map_from_base.distance_to(moment.map_from_base)[0])
            shift = estimate.map_from_base.translation - moment.map_from_base.translation
            normalised.append(shift @ np.linalg.solve(estimate.covariance[:3, :3], shift) / 3)
    best = max(alone.values(), key=len)
    assert len(together) > len(best)
    assert len(together) >= 0.8 * len(rig_scene.second)
    assert np.median(together) < min(np.median(errors) for errors in alone.values() if errors)
    assert max(together) < 0.8
    assert np.median(normalised) < 4.0


def test_what_each_camera_saw_is_told(
    rig_scene: RigScene, good: tuple[RigMoment, RigEstimate]
) -> None:
    _, estimate = good
    assert sum(view.num_inliers for view in estimate.views) == estimate.num_inliers
    for item, view in zip(rig_scene.rig, estimate.views, strict=True):
        assert view.camera == item.camera
        expected = estimate.map_from_base @ item.base_from_camera
        assert view.camera_from_map.inverse().distance_to(expected)[0] < 1e-9
        matches = view.correspondences
        error = item.camera.project(view.camera_from_map.apply(matches.points3d))
        error = np.linalg.norm(error - matches.keypoints, axis=1)
        assert (error[view.inliers] < 6.0).all()
        assert len(view.references) > 0
    stages = ["extract", "retrieve", "match", "lift", "aggregate", "pose", "align", "verify"]
    assert list(estimate.stage_seconds) == stages


def test_the_same_images_give_the_same_bits(
    rig_localizer: Localizer, rig_scene: RigScene, good: tuple[RigMoment, RigEstimate]
) -> None:
    moment, first = good
    again = localized(rig_localizer, rig_scene, moment)
    assert isinstance(again, RigEstimate)
    assert np.array_equal(first.map_from_base.matrix, again.map_from_base.matrix)
    assert np.array_equal(first.covariance, again.covariance)


def test_blind_cameras_contribute_nothing(
    rig_localizer: Localizer, rig_scene: RigScene, good: tuple[RigMoment, RigEstimate]
) -> None:
    moment, seeing = good
    gray = np.full_like(moment.images["left"], 90)
    most = int(np.argmax([view.num_inliers for view in seeing.views]))
    images = {**moment.images, rig_scene.rig[most].name: gray}
    blind = RigMoment(moment.stamp, moment.map_from_base, images)
    estimate = localized(rig_localizer, rig_scene, blind)
    assert isinstance(estimate, RigEstimate), estimate
    assert estimate.views[most].num_inliers <= 3
    assert estimate.map_from_base.distance_to(moment.map_from_base)[0] < 0.3
    nothing = RigMoment(moment.stamp, moment.map_from_base, dict.fromkeys(moment.images, gray))
    failure = localized(rig_localizer, rig_scene, nothing)
    assert isinstance(failure, LocalizationFailure)


def test_one_bad_image_is_left_out_and_only_bad_ones_are_told(
    rig_localizer: Localizer, rig_scene: RigScene, good: tuple[RigMoment, RigEstimate]
) -> None:
    moment, _ = good
    small = np.zeros((40, 40, 3), np.uint8)
    broken = RigMoment(moment.stamp, moment.map_from_base, {**moment.images, "rear": small})
    estimate = localized(rig_localizer, rig_scene, broken)
    assert isinstance(estimate, RigEstimate), estimate
    assert len(estimate.views[1].correspondences) == 0
    all_broken = RigMoment(moment.stamp, moment.map_from_base, dict.fromkeys(moment.images, small))
    failure = localized(rig_localizer, rig_scene, all_broken)
    assert isinstance(failure, LocalizationFailure)
    assert failure.reason is FailureReason.BAD_IMAGE


def test_a_prior_of_the_base_limits_the_search_and_is_held_against_the_pose(
    rig_localizer: Localizer, rig_scene: RigScene, good: tuple[RigMoment, RigEstimate]
) -> None:
    moment, _ = good
    right = localized(
        rig_localizer, rig_scene, moment, prior=PosePrior(moment.map_from_base, 0.5, 0.05)
    )
    assert isinstance(right, RigEstimate), right
    beside = Transform(
        moment.map_from_base.rotation, moment.map_from_base.translation + np.array([4.0, 3.0, 0])
    )
    wrong = localized(rig_localizer, rig_scene, moment, prior=PosePrior(beside, 0.2, 0.05))
    assert isinstance(wrong, LocalizationFailure)
    assert wrong.reason is FailureReason.AGAINST_PRIOR
    far = Transform(moment.map_from_base.rotation, np.array([5000.0, 0.0, 0.0]))
    nowhere = localized(rig_localizer, rig_scene, moment, prior=PosePrior(far, 0.5, 0.05))
    assert isinstance(nowhere, LocalizationFailure)
    assert nowhere.reason is FailureReason.NO_REFERENCES


def test_a_factor_is_on_covariances_and_on_nothing_else(
    rig_scene: RigScene, good: tuple[RigMoment, RigEstimate]
) -> None:
    moment, before = good
    config = build(LocalizerConfig, {**VALUES, "pose.covariance_factor": 3.0}, "test")
    after = localized(Localizer(Map.load(rig_scene.map_path), config), rig_scene, moment)
    assert isinstance(after, RigEstimate)
    np.testing.assert_array_equal(after.map_from_base.matrix, before.map_from_base.matrix)
    np.testing.assert_allclose(after.covariance, 3.0 * before.covariance, rtol=1e-9)


def test_the_factor_is_not_measured_into_a_map(rig_scene: RigScene) -> None:
    # Else a map built with it would take it back.
    whole = Map.load(rig_scene.map_path)
    left = [i for i, image in enumerate(whole.references) if image.name.startswith("left")]
    # Without images, which only the error that aligned matches share needs.
    place = replace(select(whole, np.array(left)), image_offsets=None, image_bytes=None)
    scales = [
        calibrate(place, build(LocalizerConfig, {**VALUES, **more}, "test")).calibration
        for more in ({}, {"pose.covariance_factor": 3.0})
    ]
    assert scales[0].covariance_scale > 1.0
    assert scales[1].covariance_scale == scales[0].covariance_scale


def test_loading_leaves_nothing_to_compile_for_the_first_image(rig_scene: RigScene) -> None:
    script = """
import json, sys
from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.covariance import _sums
from deviloc_ros.localization.least_squares import _normal_equations

Localizer.load(sys.argv[1], build(LocalizerConfig, json.loads(sys.argv[2]), "test"))
sys.exit(0 if _sums.signatures and _normal_equations.signatures else 1)
"""
    arguments = [str(rig_scene.map_path), json.dumps(VALUES)]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)

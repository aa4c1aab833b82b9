"""Pose errors, recall and reports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.evaluation.errors import (
    BENCHMARK_THRESHOLDS,
    Threshold,
    evaluate_fitted,
    evaluate_poses,
    move,
)
from deviloc_ros.evaluation.report import write_report
from deviloc_ros.evaluation.tables import image_table, summary_text, to_json
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.transform import Transform

Poses = dict[str, Transform]


def _camera(centre: tuple[float, ...], degrees: float = 0.0) -> Transform:
    """Return camera_from_map of a camera at a place, turned about z."""
    rotation = Rotation.from_euler("z", degrees, degrees=True)
    return Transform(rotation, -rotation.apply(centre))


def _random(seed: int, count: int = 10) -> Poses:
    generator = np.random.default_rng(seed)
    rotations = Rotation.random(count, rng=generator)
    centres = generator.normal(size=(count, 3)) * (10, 5, 1)
    return {
        f"{i}.jpg": Transform(r, -r.apply(c))
        for i, (r, c) in enumerate(zip(rotations, centres, strict=True))
    }


def _disturb(poses: Poses, seed: int, metres: float, radians: float) -> Poses:
    generator = np.random.default_rng(seed)
    return {
        name: Transform(
            Rotation.from_rotvec(radians * generator.normal(size=3)),
            metres * generator.normal(size=3),
        )
        @ pose
        for name, pose in poses.items()
    }


def test_errors_are_those_of_the_camera_centre_and_of_the_angle() -> None:
    # The translations of camera_from_map differ by far more than the centres.
    evaluation = evaluate_poses({"a": _camera((100, 0, 0), 90)}, {"a": _camera((100, 3, 4), 60)})
    (image,) = evaluation.images
    assert image.position == pytest.approx(5)
    assert image.rotation == pytest.approx(30)
    assert evaluation.median_position == image.position
    assert evaluation.median_rotation == image.rotation


def test_an_image_without_a_pose_fails_at_every_threshold_and_is_in_no_median() -> None:
    truth = {name: _camera((0, 0, 0)) for name in "abcd"}
    estimated = {"a": _camera((0, 0, 0)), "b": _camera((0.3, 0, 0)), "other": _camera((0, 0, 0))}
    evaluation = evaluate_poses(estimated, truth)
    assert evaluation.num_localized == 2
    assert evaluation.median_position == pytest.approx(0.15)
    assert [evaluation.recall(t) for t in BENCHMARK_THRESHOLDS] == [0.25, 0.5, 0.5]
    assert evaluation.unknown == ["other"]


@pytest.mark.parametrize(
    ("metres", "degrees", "within"), [(0.2, 1, True), (0.3, 1, False), (0.2, 3, False)]
)
def test_both_errors_must_be_within_a_threshold(
    metres: float, degrees: float, within: bool
) -> None:
    estimated = {"a": _camera((metres, 0, 0), degrees)}
    evaluation = evaluate_poses(estimated, {"a": _camera((0, 0, 0))})
    assert evaluation.num_within(Threshold(0.25, 2)) == within


def test_no_pose_at_all() -> None:
    evaluation = evaluate_poses({}, {"a": _camera((0, 0, 0))})
    assert evaluation.median_position is None
    assert evaluation.median_rotation is None
    assert evaluation.recall(Threshold(5, 10)) == 0
    assert "localized" in summary_text(evaluation, BENCHMARK_THRESHOLDS)
    assert "no pose" in image_table(evaluation)
    with pytest.raises(InputError, match="no image with a true pose"):
        evaluate_poses({}, {})


@given(st.integers(0, 1000), st.tuples(*[st.floats(-100, 100)] * 3), st.floats(-180, 180))
def test_errors_do_not_depend_on_the_map_frame(
    seed: int, centre: tuple[float, ...], degrees: float
) -> None:
    truth = _random(seed)
    estimated = _disturb(truth, seed, 0.1, 0.01)
    frame = _camera(centre, degrees)
    before = evaluate_poses(estimated, truth)
    after = evaluate_poses(
        {name: pose @ frame for name, pose in estimated.items()},
        {name: pose @ frame for name, pose in truth.items()},
    )
    for a, b in zip(before.images, after.images, strict=True):
        assert a.position == pytest.approx(b.position, abs=1e-9)
        assert a.rotation == pytest.approx(b.rotation, abs=1e-5)


@given(st.integers(0, 1000))
def test_errors_are_symmetric(seed: int) -> None:
    truth = _random(seed)
    estimated = _disturb(truth, seed, 0.1, 0.01)
    there, back = evaluate_poses(estimated, truth), evaluate_poses(truth, estimated)
    for a, b in zip(there.images, back.images, strict=True):
        assert a.position == pytest.approx(b.position, abs=1e-9)
        assert a.rotation == pytest.approx(b.rotation, abs=1e-9)


@given(st.integers(0, 1000), st.floats(0.01, 100), st.tuples(*[st.floats(-100, 100)] * 3))
def test_alignment_takes_away_frame_and_scale_and_nothing_else(
    seed: int, scale: float, translation: tuple[float, ...]
) -> None:
    truth = _random(seed)
    frame = Similarity(scale, Rotation.from_rotvec([0.5, 1, 1.5]), np.array(translation))
    exact = evaluate_fitted(move(truth, frame), truth)
    assert exact.median_position == pytest.approx(0, abs=1e-6)
    assert exact.median_rotation == pytest.approx(0, abs=1e-4)
    estimated = _disturb(truth, seed, 0.05, 0.01)
    aligned, moved = (evaluate_fitted(p, truth) for p in (estimated, move(estimated, frame)))
    assert aligned.median_rotation == pytest.approx(moved.median_rotation, rel=1e-4)
    assert aligned.median_position == pytest.approx(moved.median_position, rel=1e-4)
    assert aligned.median_rotation is not None
    assert aligned.median_rotation > 0.1


def test_alignment_of_a_rigid_frame_keeps_the_scale() -> None:
    truth = _random(0)
    bigger = move(truth, Similarity(1.1, Rotation.identity(), np.zeros(3)))
    rigid = evaluate_fitted(bigger, truth, fixed_scale=True)
    assert rigid.median_position is not None
    assert rigid.median_position > 0.1
    with pytest.raises(InputError, match="cannot be aligned"):
        evaluate_fitted({}, truth)


def test_one_wrong_pose_does_not_spoil_the_alignment() -> None:
    truth = _random(0)
    estimated = truth | {"3.jpg": _camera((500, 0, 0), 170)}
    evaluation = evaluate_fitted(estimated, truth)
    assert evaluation.num_within(Threshold(1e-6, 1e-4)) == 9


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "0,1", "1,-1", "nan,1", "inf,1"])
def test_thresholds_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"metres,degrees"):
        Threshold.parse(text)


def test_json_says_what_the_table_says() -> None:
    truth = _random(0)
    estimated = _disturb(truth, 0, 0.1, 0.001)
    del estimated["0.jpg"]
    evaluation = evaluate_poses(estimated, truth)
    content = json.loads(json.dumps(to_json(evaluation, BENCHMARK_THRESHOLDS), allow_nan=False))
    assert content["num_images"] == 10
    assert content["num_localized"] == 9
    assert content["recall"][0]["recall"] == evaluation.recall(BENCHMARK_THRESHOLDS[0])
    assert content["images"][0] == {
        "name": "0.jpg",
        "localized": False,
        "position_error_m": None,
        "rotation_error_deg": None,
    }
    rows = image_table(evaluation).splitlines()
    assert len(rows) == 11
    assert rows[-1].split() == ["0.jpg", "no", "pose"]


def test_the_report_is_one_page_without_links(tmp_path: Path) -> None:
    truth = _random(0)
    estimated = _disturb(truth, 0, 0.1, 0.001)
    del estimated["0.jpg"]
    path = tmp_path / "report.html"
    evaluation = evaluate_fitted(estimated, truth)
    write_report(path, evaluation, BENCHMARK_THRESHOLDS, estimated, truth)
    page = path.read_text()
    assert "data:image/png;base64," in page
    assert "9.jpg" in page
    assert "http" not in page

"""A query that nearest neighbours cannot match, or leave in doubt, is matched with context."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import wall_map
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.context import matcher
from deviloc_ros.localization.context.escalation import in_doubt, most_believable
from deviloc_ros.localization.context.search import CpuContextSearch
from deviloc_ros.localization.matching.mutual_nearest_neighbours import Pairs
from deviloc_ros.localization.types import (
    FailureReason,
    Localization,
    LocalizationFailure,
    PoseEstimate,
    Query,
    Way,
)

POSE = wall_map.map_from_base(0.6, yaw=3.0) @ wall_map.BASE_FROM_CAMERA


def localizer(wall_map_path: Path, context: str, **more: int) -> Localizer:
    values = {**wall_map.SETTINGS, "matching.context": context}
    values |= {key.replace("__", "."): value for key, value in more.items()}
    return Localizer.load(wall_map_path, build(LocalizerConfig, values, "test"))


def error(result: Localization, truth: Transform = POSE) -> float:
    assert isinstance(result, PoseEstimate)
    return float(result.map_from_camera.distance_to(truth)[0])


def bits(result: Localization) -> tuple[object, ...]:
    if isinstance(result, LocalizationFailure):
        return result.reason, result.details, result.way
    return result.camera_from_map.matrix.tobytes(), result.covariance.tobytes(), result.way


def hidden(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image of which so little is seen that the fast way leaves doubt."""
    result = np.zeros_like(image)
    result[105:255, 140:340] = image[105:255, 140:340]
    return result


def test_ordinary_images_are_matched_as_without_context(wall_map_path: Path) -> None:
    image = wall_map.view(POSE)
    auto, never = (
        localizer(wall_map_path, context).localize(image, wall_map.CAMERA)
        for context in ("auto", "never")
    )
    assert bits(auto) == bits(never)
    assert auto.way is Way.FAST
    assert "attend" not in auto.stage_seconds


def test_context_alone_is_as_exact_and_the_same_each_time(wall_map_path: Path) -> None:
    image = wall_map.view(POSE)
    with_context = localizer(wall_map_path, "always")
    first = with_context.localize(image, wall_map.CAMERA)
    assert first.way is Way.CONTEXT
    assert error(first) < 0.02
    assert bits(with_context.localize(image, wall_map.CAMERA)) == bits(first)
    assert {"attend", "guide"} <= first.stage_seconds.keys()


def test_doubt_escalates_and_a_fresh_localizer_agrees_bit_for_bit(wall_map_path: Path) -> None:
    image = hidden(wall_map.view(POSE))
    fast = localizer(wall_map_path, "never").localize(image, wall_map.CAMERA)
    assert in_doubt(fast)
    results = [localizer(wall_map_path, "auto").localize(image, wall_map.CAMERA) for _ in range(2)]
    assert bits(results[0]) == bits(results[1])
    assert results[0].way is Way.CONTEXT
    assert results[0].num_inliers > 1.5 * fast.num_inliers
    assert error(results[0]) < 0.02
    assert {"match", "attend"} <= results[0].stage_seconds.keys()


def test_attention_sees_all_references_only_where_the_first_leave_doubt(
    wall_map_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    attended = CpuContextSearch.attended

    def counted(self: CpuContextSearch, query: Query, references: NDArray[np.int64]) -> list[Pairs]:
        seen.append(len(references))
        return attended(self, query, references)

    monkeypatch.setattr(CpuContextSearch, "attended", counted)
    with_context = localizer(wall_map_path, "always")

    def attended_if(enough: int) -> int:
        monkeypatch.setattr(matcher, "ENOUGH_GUIDES", enough)
        seen.clear()
        result = with_context.localize(wall_map.view(POSE), wall_map.CAMERA)
        assert error(result) < 0.02
        assert isinstance(result, PoseEstimate)
        # The others are matched near the pose all the same.
        assert len(np.unique(result.matches.reference)) > matcher.NUM_FIRST
        return sum(seen)

    assert attended_if(20) < attended_if(10_000)
    assert len(seen) > 1


def test_so_few_references_that_attention_sees_all_at_once(wall_map_path: Path) -> None:
    few = localizer(wall_map_path, "always", retrieval__num_references=matcher.NUM_FIRST)
    assert error(few.localize(hidden(wall_map.view(POSE)), wall_map.CAMERA)) < 0.02


def test_another_place_is_refused(wall_map_path: Path) -> None:
    rng = np.random.default_rng(1)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (360, 480)).astype(np.uint8), (0, 0), 2)
    result = localizer(wall_map_path, "always").localize(
        np.asarray(cv2.normalize(noise, noise, 0, 255, cv2.NORM_MINMAX), np.uint8), wall_map.CAMERA
    )
    assert isinstance(result, LocalizationFailure)
    assert result.way is Way.CONTEXT


def failure(reason: FailureReason, way: Way = Way.FAST) -> LocalizationFailure:
    return LocalizationFailure(reason, "", way=way)


def test_only_what_other_matches_can_mend_is_in_doubt() -> None:
    assert in_doubt(failure(FailureReason.LOW_INLIER_RATIO))
    assert in_doubt(failure(FailureReason.TOO_FEW_MATCHES))
    for reason in (
        FailureReason.BAD_IMAGE,
        FailureReason.NO_REFERENCES,
        FailureReason.AGAINST_PRIOR,
        FailureReason.DAMAGED_MAP,
    ):
        assert not in_doubt(failure(reason))


def test_a_verified_pose_counts_more_than_a_later_failure(wall_map_path: Path) -> None:
    pose = localizer(wall_map_path, "never").localize(wall_map.view(POSE), wall_map.CAMERA)
    late = failure(FailureReason.NO_POSE, Way.CONTEXT)
    assert most_believable([pose, late]) is pose
    early = LocalizationFailure(FailureReason.LOW_INLIER_RATIO, "", num_inliers=40)
    told = most_believable([early, late])
    assert (told.reason, told.way) == (FailureReason.LOW_INLIER_RATIO, Way.CONTEXT)


def test_the_way_is_in_the_statistics(wall_map_path: Path, tmp_path: Path) -> None:
    from deviloc_ros.cli.main import main

    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "day.png"), wall_map.view(POSE))
    cv2.imwrite(str(images / "hidden.png"), hidden(wall_map.view(POSE)))
    settings = [f"--set={key}={value}" for key, value in wall_map.SETTINGS.items()]
    code = main(
        ["localize", str(wall_map_path), "--images", str(images), "--camera", str(wall_map.CAMERA),
         "--output", str(tmp_path / "poses.txt"), "--json", str(tmp_path / "stats.json"), *settings]
    )  # fmt: skip
    assert code == 0
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert [image["way"] for image in stats["images"]] == ["fast", "context"]
    assert stats["totals"]["images_by_way"] == {"fast": 1, "context": 1}

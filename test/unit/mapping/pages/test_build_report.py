"""The report of a map: stretches of the way, what is missing on them, and what the page says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_map import small_map

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.living.own_check import OwnImages
from deviloc_ros.mapping.pages import stretches
from deviloc_ros.mapping.pages.build_report import ReportInputs, stretch_lines, write_build_report
from deviloc_ros.mapping.pages.stretches import Coverage, Way, examine
from deviloc_ros.maps.map import Map

CONFIG = build(LocalizerConfig, {"device": "cpu"}, "test")
COUNT, STEP = 12, 2.0
LOST = 7


def drive() -> Map:
    """Return a map of two cameras at 12 places, 2 m apart; one image between is not in it.

    All images of the first half see the same 100 points, those of the second half 30 others.
    """
    whole = small_map(0, references=2 * COUNT)
    seen = [range(100) if i < COUNT // 2 else range(100, 130) for i in range(COUNT)] * 2
    references = [
        replace(
            reference,
            name=f"{('left', 'right')[i // COUNT]}/{100 + i % COUNT}.png",
            camera_from_map=Transform(
                Rotation.identity(), np.array([STEP * (i % COUNT), (-0.5, 0.5)[i // COUNT], 0])
            ).inverse(),
        )
        for i, reference in enumerate(whole.references)
    ]
    return replace(
        whole,
        references=references,
        point_array=np.zeros((130, 3), np.float32),
        observation_offsets=np.cumsum([0, *map(len, seen)]).astype(np.int64),
        observation_points=np.concatenate([list(x) for x in seen]).astype(np.int32),
        observation_pixels=np.zeros((sum(map(len, seen)), 2), np.float32),
        origin=np.zeros(3),
        gravity_aligned=True,
        unregistered={"left/102b.png": "matches 1 other images, but too weakly for a pose"},
    )


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Way:
    """Return the way of the drive, on which one image is not localized."""

    def localized(_: Map, indices: np.ndarray, config: object, excluded_by: Map) -> OwnImages:
        errors = np.tile((0.02, 0.1), (len(indices), 1))
        errors[indices == LOST] = np.nan
        return OwnImages(indices, errors)

    monkeypatch.setattr(stretches, "localize_own_images", localized)
    return examine(drive(), CONFIG, is_rig=True)


def test_stretches_tell_what_is_missing_thin_and_poor(way: Way) -> None:
    assert len(way.moments) == COUNT
    np.testing.assert_allclose(way.along, STEP * np.arange(COUNT))
    np.testing.assert_allclose(way.centres[:, 1], 0, atol=1e-12)
    assert [(s.begin, s.end, s.num_images) for s in way.stretches] == [
        (0, 4, 6), (6, 10, 6), (12, 16, 6), (18, 22, 6),
    ]  # fmt: skip
    assert [s.num_missing for s in way.stretches] == [1, 0, 0, 0]
    assert [s.coverage for s in way.stretches] == [
        Coverage.GOOD, Coverage.GOOD, Coverage.POOR, Coverage.THIN,
    ]  # fmt: skip
    assert way.stretches[2].num_found == 2
    assert way.stretches[0].error == pytest.approx(0.02)
    lines = stretch_lines(way, "m")
    assert "11 of 12 images localized" in lines[0]
    assert len(lines) == 3


def test_the_page_says_it_all_and_believes_no_name(way: Way, tmp_path: Path) -> None:
    built = drive()
    odometry = {r.name: r.camera_from_map for r in built.references[:COUNT]}
    odometry["left/102b.png"] = built.references[2].camera_from_map
    inputs = ReportInputs(
        "<b>.devmap",
        ["12 of 40 images of the bag were taken"],
        {"shows nothing to find again": 28},
        odometry,
        np.array([[1.0, 2.0, 0.0]]),
        "map.view.html",
    )
    page = tmp_path / "map.html"
    write_build_report(page, built, way, inputs)
    text = page.read_text("utf-8")
    assert "&lt;b&gt;.devmap" in text
    assert "<b>.devmap" not in text
    for words in (
        '<a href="map.view.html">', "12 of 40 images of the bag", "left/102b.png: matches 1 other",
        "<td>shows nothing to find again</td><td>28</td>", '<tr class="poor">', "2 of 3",
    ):  # fmt: skip
        assert words in text
    assert text.count("data:image/png;base64,") == 2

"""The page of a map holds what the map holds, and needs nothing else."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from maps import write_random_map
from scipy.spatial.transform import Rotation
from small_map import small_map

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.pages.rerun_recording import write_recording
from deviloc_ros.mapping.pages.view_page import write_view
from deviloc_ros.maps.map import Map


def scene_of(path: Path) -> dict[str, Any]:
    found = re.search(
        r'<script id="data" type="application/json">(.*?)</script>', path.read_text("utf-8"), re.S
    )
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def positions_of(group: dict[str, Any]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    positions = np.frombuffer(base64.b64decode(group["positions"]), "<f4").reshape(-1, 3)
    colors = np.frombuffer(base64.b64decode(group["colors"]), np.uint8).reshape(-1, 3)
    assert len(colors) == len(positions)
    return positions


def test_points_looks_poses_and_covariances_are_drawn(tmp_path: Path) -> None:
    whole = small_map(0)
    night = [replace(r, look="night") if i else r for i, r in enumerate(whole.references)]
    whole = replace(whole, references=night)
    pose = Transform(Rotation.identity(), -whole.origin)
    covariance = np.diag([4.0, 1.0, 0.25, 1, 1, 1])
    page = tmp_path / "map.html"
    write_view(page, whole, {"a.jpg": pose}, {"a.jpg": covariance}, "place.devmap")
    scene = scene_of(page)
    groups = {group["name"]: group for group in scene["groups"]}
    assert list(groups) == [
        "points (20)", "first look (1)", "night (2)", "poses (1)", "95 % of positions (1)",
    ]  # fmt: skip
    middle = np.median([r.camera_from_map.inverse().translation for r in night], axis=0)
    drawn = positions_of(groups["points (20)"])
    np.testing.assert_allclose(drawn, whole.points3d - middle, rtol=1e-5)
    rings = positions_of(groups["95 % of positions (1)"]) - (whole.origin - middle)
    half = np.ptp(rings, axis=0) / 2
    # sqrt of the 95 % quantile of chi-squared with 3 degrees of freedom is 2.7955.
    np.testing.assert_allclose(half, 2.7955 * np.array([2, 1, 0.5]), atol=0.2)
    assert [label[0] for label in scene["labels"]] == [*(r.name for r in night), "a.jpg"]


def test_the_page_needs_no_network_and_believes_no_name(tmp_path: Path) -> None:
    whole = small_map(0)
    evil = "</script><script>alert(1)</script>"
    whole = replace(whole, references=[replace(r, name=evil) for r in whole.references])
    page = tmp_path / "map.html"
    write_view(page, whole, {}, {}, f"{evil}.devmap")
    text = page.read_text("utf-8")
    assert "alert(1)</script>" not in text
    assert scene_of(page)["labels"][0][0] == evil
    assert not re.findall(r"https?://|<link|<img|src=|import\(|fetch\(", text)


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to look at the page with")
def test_a_browser_draws_the_points(tmp_path: Path) -> None:
    assert BROWSER is not None
    page, picture = tmp_path / "map.html", tmp_path / "map.png"
    place = Map.load(write_random_map(tmp_path / "random.devmap", 8, 16))
    write_view(page, place, {}, {}, "place.devmap")
    subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader", "--disable-background-networking", "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=800,600",
            "--virtual-time-budget=4000", f"--screenshot={picture}", page.as_uri(),
        ],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    image = cv2.imread(str(picture))
    assert image is not None
    # Right of the legend there is nothing but the map.
    scene = image[:, 400:].reshape(-1, 3)
    colors, counts = np.unique(scene, axis=0, return_counts=True)
    assert counts.max() > 0.5 * len(scene), "there should be a background"
    assert len(colors) > 10, "and points before it, of many colors"


def test_a_recording_for_rerun_holds_the_same(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    whole = small_map(0)
    pose = Transform(Rotation.identity(), -whole.origin)
    covariance = np.diag([4.0, 1.0, 0.25, 1, 1, 1])
    written = tmp_path / "place.rrd"
    write_recording(written, whole, {"a b.jpg": pose}, {"a b.jpg": covariance}, "place.devmap")
    names = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", str(written)],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    for entity in ("/map/points", "/run/a\\ b.jpg", "/uncertainty/a\\ b.jpg"):
        assert entity in names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place.rrd"]


def test_without_rerun_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(InputError, match="pip install 'deviloc_ros\\[rerun\\]'"):
        write_recording(tmp_path / "place.rrd", small_map(0), {}, {}, "place.devmap")
    assert not list(tmp_path.iterdir())

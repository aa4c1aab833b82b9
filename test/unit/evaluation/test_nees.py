"""NEES, on errors whose covariance is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.cli.main import main
from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.errors import InputError
from deviloc_ros.evaluation.nees import Nees, nees, nees_json, nees_of_poses, nees_text
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.geometry.uncertainty import pose_error


def drawn(seed: int, count: int, factor: float = 1.0) -> tuple[Nees, Nees]:
    """Return the NEES of Gaussian errors; stated covariances are `factor` times the true ones."""
    generator = np.random.default_rng(seed)
    errors, covariances = [], []
    for _ in range(count):
        root = generator.normal(size=(6, 6)) * np.array([1, 1, 1, 1e-2, 1e-2, 1e-2])[:, None]
        errors.append(root @ generator.normal(size=6))
        covariances.append(factor * root @ root.T)
    return nees(errors, covariances)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.05, 20.0))
def test_is_the_inverse_of_the_factor_on_the_covariance(seed: int, factor: float) -> None:
    """2000 errors with 3 degrees of freedom: the mean has a standard deviation of 0.018."""
    for part in drawn(seed, 2000, factor):
        assert part.mean * factor == pytest.approx(1, abs=0.1)
        assert part.median_ratio * factor == pytest.approx(1, abs=0.15)


def test_true_covariances_lie_in_the_expected_interval_and_hold_95_percent() -> None:
    hits = 0
    for seed in range(60):
        position, rotation = drawn(seed, 40)
        for part in (position, rotation):
            low, high = part.expected
            hits += low <= part.mean <= high
    assert 105 <= hits <= 120
    position, rotation = drawn(0, 3000)
    assert position.share_within == pytest.approx(0.95, abs=0.02)
    assert rotation.share_within == pytest.approx(0.95, abs=0.02)
    assert drawn(0, 3000, 1 / 9)[0].share_within < 0.6


def test_the_bootstrap_interval_holds_the_true_mean_and_shrinks() -> None:
    hits = 0
    for seed in range(60):
        low, high = drawn(seed, 60)[0].interval()
        hits += low <= 1 <= high
    assert hits >= 50
    few, many = drawn(1, 20)[0].interval(), drawn(1, 2000)[0].interval()
    assert many[1] - many[0] < 0.3 * (few[1] - few[0])
    assert drawn(1, 20)[0].interval() == few


def test_runs_of_poses_that_err_alike_are_drawn_as_one() -> None:
    """Every error comes eight times in a row: taken for 8 times as many poses it says too much."""
    single, in_runs = 0, 0
    for seed in range(60):
        alike = Nees(np.repeat(drawn(seed, 30)[0].values, 8))
        for run in (1, 8):
            low, high = alike.interval(run=run)
            if run == 1:
                single += low <= 1.0 <= high
            else:
                in_runs += low <= 1.0 <= high
    assert single < 45
    assert in_runs > 50


def test_of_poses_counts_errors_about_the_fixed_axes_of_the_map() -> None:
    """A body turned by 90 deg about z errs about the map's x, where the covariance is small."""
    turned = Rotation.from_euler("z", 90, degrees=True)
    true = Transform(turned, np.array([1.0, 2.0, 3.0]))
    wrong = Transform(
        Rotation.from_rotvec([0.02, 0, 0]) * turned, true.translation + np.array([0.0, 0.3, 0.0])
    )
    np.testing.assert_allclose(pose_error(wrong, true), [0, 0.3, 0, 0.02, 0, 0], atol=1e-12)
    covariance = np.diag([1.0, 0.01, 1.0, 1e-4, 1.0, 1.0])
    position, rotation = nees_of_poses(
        {"a": wrong.inverse(), "without": true}, {"a": covariance}, {"a": true.inverse()}
    )
    assert position.mean == pytest.approx(9 / 3)
    assert rotation.mean == pytest.approx(4 / 3)


def test_text_and_json_say_the_same() -> None:
    position, rotation = drawn(0, 50)
    content = json.loads(json.dumps(nees_json(position, rotation), allow_nan=False))
    assert content["position"]["mean"] == position.mean
    assert content["rotation"]["num_poses"] == 50
    first, second = nees_text(position, rotation).splitlines()
    assert f"{position.mean:.2f}" in first
    assert f"{rotation.mean:.2f}" in second


def _write_stats(folder: Path, covariance: object) -> Path:
    """Write poses.txt, a model of the truth and stats.json of one image; its NEES is 3 and 0."""
    truth = PosedImage(
        "a.jpg", Camera("PINHOLE", 640, 480, (400.0, 400, 320, 240)), Transform.identity()
    )
    write_posed_images(folder / "model", [truth])
    (folder / "poses.txt").write_text("a.jpg 1 0 0 0 0.3 0 0\n")
    records = [
        {"name": "a.jpg", "localized": True, "covariance": covariance},
        {"name": "b.jpg", "localized": False},
    ]
    (folder / "stats.json").write_text(json.dumps({"images": records}))
    return folder / "stats.json"


def test_evaluate_tells_nees_of_stats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stats = _write_stats(tmp_path, (0.01 * np.eye(6)).tolist())
    command = ["evaluate", "--poses", tmp_path / "poses.txt", "--model", tmp_path / "model"]
    assert main([*map(str, command), "--stats", str(stats), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)["nees"]
    assert content["position"]["mean"] == pytest.approx(3)
    assert content["rotation"]["mean"] == pytest.approx(0)
    assert main([*map(str, command), "--stats", str(stats)]) == 0
    assert "NEES of position per degree of freedom" in capsys.readouterr().out


@pytest.mark.parametrize("covariance", [np.eye(5).tolist(), (-np.eye(6)).tolist(), "x", None])
def test_evaluate_refuses_what_is_no_covariance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], covariance: object
) -> None:
    stats = _write_stats(tmp_path, covariance)
    command = ["evaluate", "--poses", tmp_path / "poses.txt", "--model", tmp_path / "model"]
    assert main([*map(str, command), "--stats", str(stats)]) == 2
    error = capsys.readouterr().err
    assert "stats.json" in error
    assert error.count("\n") == 1


def test_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="no pose"):
        nees_of_poses({}, {}, {"a": Transform.identity()})

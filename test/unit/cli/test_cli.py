"""The command line: exit codes, one line for every error, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import deviloc_ros.localization
from deviloc_ros.cli import evaluate
from deviloc_ros.cli.main import COMMANDS, main
from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.datasets.poses import read_poses, write_poses
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
)
from deviloc_ros.mapping.map_frame import UP_AXES
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

CAMERA = "PINHOLE 64 48 50 50 32 24"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command line and returns exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@dataclass(frozen=True)
class Place:
    """A folder with images, their true model, a map of them, and pose files."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture
def place(tmp_path: Path) -> Place:
    generator = np.random.default_rng(0)
    rotations = Rotation.random(6, rng=generator)
    camera = Camera.parse(CAMERA)
    posed = [
        PosedImage(f"{i}.png", camera, Transform(r, -r.apply(generator.normal(size=3) * 5)))
        for i, r in enumerate(rotations)
    ]
    (tmp_path / "images").mkdir()
    for image in posed:
        noise = generator.integers(0, 255, (48, 64), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / image.name), noise)
    write_posed_images(tmp_path / "model", posed)
    write_poses(tmp_path / "poses.txt", {i.name: i.camera_from_map for i in posed})
    _map(posed).save(tmp_path / "place.devmap")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("this is no such file\n")
    return Place(tmp_path)


def _map(posed: list[PosedImage]) -> Map:
    """Return a map with poses and points, whose features mean nothing."""
    generator = np.random.default_rng(1)
    count, features = len(posed), 4
    total = count * features
    return Map(
        references=[Reference(i.name, i.camera, i.camera_from_map) for i in posed],
        feature_offsets=np.arange(0, total + 1, features, dtype=np.int64),
        keypoints=generator.random((total, 2), dtype=np.float32),
        descriptors=generator.random((total, 64)).astype(np.float16),
        levels=np.zeros(total, dtype=np.uint8),
        feature_points=generator.random((total, 3), dtype=np.float32),
        confidence=np.ones(total, dtype=np.float16),
        global_descriptors=generator.random((count, 64 * 2)).astype(np.float16),
        codebook=generator.random((2, 64), dtype=np.float32),
        point_array=generator.random((9, 3), dtype=np.float32),
        observation_offsets=np.arange(0, count + 1, dtype=np.int64),
        observation_points=np.arange(count, dtype=np.int32),
        observation_pixels=generator.random((count, 2), dtype=np.float32),
        origin=np.array([1.0, 2.0, 3.0]),
        metric=False,
        gravity_aligned=False,
        calibration=Calibration(np.zeros((2, 2))),
        unregistered={"blurred.png": "has no verified matches with any other image"},
    )


BUILD = "map build --images {p}/images --output {p}/new.devmap"
EXTEND = "map extend {p}/place.devmap --images {p}/images --output {p}/new.devmap"
PRUNE = "map prune {p}/place.devmap --output {p}/new.devmap"
LOCALIZE = "localize {p}/place.devmap --images {p}/images --output {p}/new.txt"
EVALUATE = "evaluate --poses {p}/poses.txt --model {p}/model"
BAD = {
    "no command": ("", "COMMAND"),
    "unknown command": ("locate", "'locate'"),
    "unknown option": (f"{EVALUATE} --frobnicate", "--frobnicate"),
    "abbreviated option": (f"{EVALUATE} --thres 1,1", "--thres"),
    "missing option": ("evaluate --poses {p}/poses.txt", "--model"),
    "build: no images": ("map build --images {p}/empty --output {p}/new.devmap", "holds no image"),
    "build: no folder": ("map build --images {p}/x --output {p}/new.devmap", "no such folder"),
    "build: output nowhere": ("map build --images {p}/images --output {p}/x/new", "no folder"),
    "build: output a folder": ("map build --images {p}/images --output {p}/empty", "is a folder"),
    "build: bad model": (f"{BUILD} --model {{p}}/empty", "is not a COLMAP model"),
    "build: bad camera": (f"{BUILD} --camera PINHOLE", "camera 'PINHOLE'"),
    "build: bad camera model": (f"{BUILD} --camera-model KODAK", "KODAK"),
    "build: metric of nothing": (f"{BUILD} --metric", "--model"),
    "build: bad device": (f"{BUILD} --device tpu", "tpu"),
    "build: bad key": (f"{BUILD} --set seed=-1", "seed"),
    "build: bad config": (f"{BUILD} --config {{p}}/text.txt", "key: value"),
    "info: no map": ("map info {p}/nowhere", "nowhere"),
    "info: not a map": ("map info {p}/text.txt", "is not a map"),
    "align: how": ("map align {p}/place.devmap", "--positions"),
    "align: both": ("map align {p}/place.devmap --scale 2 --model {p}/model", "not allowed"),
    "align: scale": ("map align {p}/place.devmap --scale 0", "must be positive"),
    "align: nan": ("map align {p}/place.devmap --scale nan", "must be positive"),
    "align: bad file": ("map align {p}/place.devmap --positions {p}/text.txt", "text.txt:1"),
    "extend: no camera": (EXTEND, "--camera"),
    "extend: not a map": (
        "map extend {p}/text.txt --images {p}/images --model {p}/model --output {p}/new.devmap",
        "is not a map",
    ),
    "extend: an older map": (f"{EXTEND} --model {{p}}/model", "holds no images"),
    "extend: label": (f"{EXTEND} --model {{p}}/model --label a/b", "--label 'a/b'"),
    "extend: metric": (f"{EXTEND} --camera PINHOLE --metric", "give --model"),
    "extend: output nowhere": (f"{EXTEND}/x/new --model {{p}}/model", "no folder"),
    "merge: not a map": (
        "map merge {p}/place.devmap {p}/text.txt --output {p}/new.devmap",
        "is not a map",
    ),
    "prune: how far": (PRUNE, "--images"),
    "prune: nothing": (f"{PRUNE} --images 6", "has 6 images, no more than the 6"),
    "prune: size": (f"{PRUNE} --target-mb nan", "--target-mb nan"),
    "prune: bad usage": (f"{PRUNE} --images 4 --usage {{p}}/text.txt", "nor summary.json"),
    "view: stats alone": (
        "map view {p}/place.devmap --stats {p}/text.txt --output {p}/new.html",
        "give --poses",
    ),
    "view: bad poses": (
        "map view {p}/place.devmap --poses {p}/text.txt --output {p}/new.html",
        "text.txt:1",
    ),
    "localize: no camera": (LOCALIZE, "--camera"),
    "localize: not a map": (
        "localize {p}/text.txt --images {p}/images --model {p}/model --output {p}/new.txt",
        "is not a map",
    ),
    "localize: bad cameras": (f"{LOCALIZE} --cameras {{p}}/text.txt", "text.txt:1"),
    "localize: missing cameras": (f"{LOCALIZE} --cameras {{p}}/x.txt", "no such file"),
    "localize: bad model": (f"{LOCALIZE} --model {{p}}/empty", "is not a COLMAP model"),
    "localize: stats nowhere": (
        f"{LOCALIZE} --model {{p}}/model --json {{p}}/x/s.json",
        "no folder",
    ),
    "localize: batch": (f"{LOCALIZE} --model {{p}}/model --batch 0", "--batch 0"),
    "evaluate: no poses": ("evaluate --poses {p}/x.txt --model {p}/model", "no such file"),
    "evaluate: bad poses": ("evaluate --poses {p}/text.txt --model {p}/model", "text.txt:1"),
    "evaluate: bad model": ("evaluate --poses {p}/poses.txt --model {p}/x", "no such folder"),
    "evaluate: threshold": (f"{EVALUATE} --thresholds 1", "metres,degrees"),
    "evaluate: report nowhere": (f"{EVALUATE} --report {{p}}/x/r.html", "no folder"),
}


@pytest.mark.parametrize(("command", "expected"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    run: Run, place: Place, command: str, expected: str
) -> None:
    before = sorted(place.folder.rglob("*"))
    code, out, err = run(*command.format(p=place.folder).split())
    assert code == 2
    assert err.startswith("deviloc: ")
    assert err.count("\n") == 1
    assert expected in err
    assert out == ""
    assert sorted(place.folder.rglob("*")) == before


def test_debug_shows_where_an_error_came_from(run: Run, place: Place) -> None:
    code, _, err = run("map", "--debug", "info", place / "nowhere")
    assert code == 2
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("error", "expected_code", "expected"),
    [
        (NothingFoundError("no two images overlap"), 3, "no two images overlap"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("odd\nthing"), 1, "internal error: RuntimeError: odd thing; this is a bug"),
        (OSError(28, "No space left on device", "x.txt"), 2, "x.txt: No space left on the disk"),
        (RuntimeError("database or disk is full"), 2, "No space left on the disk"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_way_to_fail_has_its_code_and_one_line(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    expected_code: int,
    expected: str,
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(evaluate, "run", fail)
    code, _, err = run("evaluate", "--poses", "p", "--model", "m")
    assert code == expected_code
    assert err.count("\n") == 1
    assert expected in err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    assert f"deviloc {command}" in capsys.readouterr().out.partition("examples:")[2]


def test_evaluate_prints_a_table_or_json(run: Run, place: Place) -> None:
    command = "evaluate", "--poses", place / "poses.txt", "--model", place / "model"
    code, out, err = run(*command, "--thresholds", "0.1,1")
    assert (code, err) == (0, "")
    assert "within (0.1 m, 1 deg)" in out
    code, out, _ = run(*command, "--json")
    content = json.loads(out)
    assert code == 0
    assert content["num_localized"] == 6
    assert [entry["position_m"] for entry in content["recall"]] == [0.25, 0.5, 5]


def test_reports_link_to_the_page_that_shows_poses_in_the_map(
    run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = place / "report.html"
    code, _, err = run(
        "evaluate", "--poses", place / "poses.txt", "--model", place / "model", "--report", report,
        "--map", place / "place.devmap",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert '<a href="report.view.html">' in report.read_text("utf-8")
    assert '"poses (6)"' in (place / "report.view.html").read_text("utf-8")
    monkeypatch.setattr(deviloc_ros.localization, "Localizer", _Pose)
    monkeypatch.setattr(_Pose, "map", Map.load(place / "place.devmap"))
    code, stats, _ = _localize(run, place, "--view", str(place / "run.html"))
    assert code == 0
    assert stats["view"] == str(place / "run.html")
    page = (place / "run.html").read_text("utf-8")
    assert '"poses (6)"' in page
    assert '"95 % of positions (6)"' in page


def test_map_info_says_what_is_not_in_the_map(run: Run, place: Place) -> None:
    code, out, _ = run("map", "info", place / "place.devmap", "--picture", place / "top.png")
    assert code == 0
    assert "blurred.png" in out
    assert "not metric" in out
    assert (place / "top.png").stat().st_size > 1000
    info = json.loads(run("map", "info", place / "place.devmap", "--json")[1])
    assert info["references"] == 6
    assert info["unregistered"].keys() == {"blurred.png"}


def _rays(reference_map: Map) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return all points in every camera's frame, scaled to unit length."""
    points = reference_map.point_array + reference_map.origin
    features = reference_map.feature_points + reference_map.origin
    both = np.concatenate([points, features])
    seen = np.stack([r.camera_from_map.apply(both) for r in reference_map.references])
    return np.asarray(seen / np.linalg.norm(seen, axis=-1, keepdims=True))


@pytest.mark.parametrize("up", UP_AXES)
def test_map_align_moves_cameras_and_points_together(run: Run, place: Place, up: str) -> None:
    before = Map.load(place / "place.devmap")
    centres = {r.name: r.camera_from_map.inverse().translation for r in before.references}
    turn = Rotation.from_euler("xyz", [20, -30, 100], degrees=True)
    given = {
        name: 2.5 * turn.apply(centre.copy()) + (10, 20, 30) for name, centre in centres.items()
    }
    lines = [f"{name} {' '.join(map(str, xyz))}\n" for name, xyz in given.items()]
    (place / "positions.txt").write_text("".join(lines))
    code, out, _ = run(
        "map", "align", place / "place.devmap", "--positions", place / "positions.txt",
        "--up", up, "--output", place / "aligned.devmap",
    )  # fmt: skip
    assert code == 0
    assert "6 of 6 images, scale 2.5" in out
    after = Map.load(place / "aligned.devmap")
    assert after.metric
    assert after.gravity_aligned
    found = np.array([r.camera_from_map.inverse().translation for r in after.references])
    heights = np.array(list(given.values())) @ np.array(UP_AXES[up])
    np.testing.assert_allclose(found[:, 2], heights, atol=1e-5)
    # What an image sees does not change, whatever the frame.
    np.testing.assert_allclose(_rays(after), _rays(before), atol=1e-5)


def _street(
    folder: Path, hills: float
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Write a map of cameras that look along x, y or between, and return their positions."""
    along_x = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    generator = np.random.default_rng(3)
    posed, positions = [], {}
    for i in range(9):
        position = np.array([3.0 * i, generator.normal() * 5, hills * generator.normal()])
        turn = Rotation.from_euler("z", 20 * i, degrees=True) * along_x
        pose = Transform(turn, position / 2).inverse()
        posed.append(PosedImage(f"{i}.png", Camera.parse(CAMERA), pose))
        positions[f"{i}.png"] = position
    _map(posed).save(folder / "street.devmap")
    return positions


def _align(
    run: Run, folder: Path, positions: Mapping[str, object], *more: str
) -> tuple[int, str, str]:
    lines = [f"{name} {' '.join(map(repr, map(float, xyz)))}\n" for name, xyz in positions.items()]  # type: ignore[call-overload]
    (folder / "positions.txt").write_text("".join(lines))
    return run(
        "map", "align", folder / "street.devmap", "--positions", folder / "positions.txt",
        "--output", folder / "aligned.devmap", *more,
    )  # fmt: skip


@pytest.mark.parametrize("hills", [0.0, 2.0])
@pytest.mark.parametrize("axes", [(1, 0, 2), (0, 1, 2)])
def test_map_align_refuses_mirrored_axes(
    run: Run, tmp_path: Path, hills: float, axes: tuple[int, ...]
) -> None:
    noise = np.random.default_rng(5)
    given = {
        name: xyz[list(axes)] + noise.normal(size=3) * 0.02
        for name, xyz in _street(tmp_path, hills).items()
    }
    code, _, err = _align(run, tmp_path, given)
    if axes == (0, 1, 2):
        assert (code, err) == (0, "")
        return
    assert code == 2
    assert "mirrored" in err
    assert "east, north, up" in err
    assert not (tmp_path / "aligned.devmap").exists()
    code, _, err = _align(run, tmp_path, given, "--up", "z")
    assert code == (0 if hills == 0 else 2)  # in one plane a camera upside down looks the same
    assert "mirrored" in err


def test_map_align_takes_latitude_and_longitude(run: Run, tmp_path: Path) -> None:
    positions = _street(tmp_path, hills=2.0)
    metres_per_degree = 111_320 * np.array([1, np.cos(np.radians(48.1))])
    degrees = {
        name: (48.1 + y / metres_per_degree[0], 11.5 + x / metres_per_degree[1], 500 + z)
        for name, (x, y, z) in positions.items()
    }
    code, _, err = _align(run, tmp_path, degrees)
    assert code == 2
    assert "--wgs84" in err
    code, out, err = _align(run, tmp_path, degrees, "--wgs84")
    assert (code, err) == (0, "")
    assert "origin latitude 48.0999" in out
    after = Map.load(tmp_path / "aligned.devmap")
    found = {r.name: r.camera_from_map.inverse().translation for r in after.references}
    moved = np.array([found[name] - positions[name] for name in positions])
    np.testing.assert_allclose(moved - np.median(moved, axis=0), 0, atol=0.1)  # a sphere's degrees
    code, _, err = _align(
        run, tmp_path, {n: (x, 200.0, z) for n, (x, _, z) in degrees.items()}, "--wgs84"
    )
    assert code == 2
    assert "no place on the earth" in err
    assert _align(run, tmp_path, degrees, "--wgs84", "--up", "y")[0] == 2


def test_map_align_in_place_by_scale(run: Run, place: Place) -> None:
    before = Map.load(place / "place.devmap")
    extent = np.ptp(before.bounds, axis=0)
    assert run("map", "align", place / "place.devmap", "--scale", "2")[0] == 0
    after = Map.load(place / "place.devmap")
    np.testing.assert_allclose(np.ptp(after.bounds, axis=0), 2 * extent)
    assert after.metric
    assert not after.gravity_aligned


def test_map_align_to_a_model(run: Run, place: Place) -> None:
    run("map", "align", place / "place.devmap", "--scale", "3", "--output", place / "other.devmap")
    code, out, _ = run("map", "align", place / "other.devmap", "--model", place / "model")
    assert code == 0
    assert "scale 0.333333" in out
    poses = read_poses(place / "poses.txt")
    for reference in Map.load(place / "other.devmap").references:
        expected = poses[reference.name].matrix
        np.testing.assert_allclose(reference.camera_from_map.matrix, expected, atol=1e-6)


def test_map_align_refuses_a_line_and_keeps_the_map(run: Run, place: Place) -> None:
    lines = "".join(f"{i}.png {i} {2 * i} 0\n" for i in range(6))
    (place / "positions.txt").write_text(lines)
    before = (place / "place.devmap").read_bytes()
    command = "map", "align", place / "place.devmap", "--positions", place / "positions.txt"
    code, _, err = run(*command)
    assert code == 2
    assert "one line" in err
    (place / "positions.txt").write_text("".join(lines.splitlines(keepends=True)[:2]))
    code, _, err = run(*command)
    assert code == 2
    assert "at least 3" in err
    assert (place / "place.devmap").read_bytes() == before


class _StubLocalizer:
    """Finds nothing; a localizer's networks are not needed to test what is done with results."""

    map = type("Map", (), {"metric": True})()
    stop_after = 10**9

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    @classmethod
    def load(cls, path: Path, config: object) -> _StubLocalizer:
        return cls()

    def localize_batch(
        self,
        images: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]],
        cameras: list[Camera],
        priors: None = None,
        references: None = None,
    ) -> list[LocalizationFailure]:
        if len(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        for image, camera in zip(images, cameras, strict=True):
            assert image.shape == (camera.height, camera.width)
            self.seen.append((camera.width, camera.height))
        return [LocalizationFailure(FailureReason.NO_POSE, "stub") for _ in images]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_StubLocalizer]]:
    monkeypatch.setattr(deviloc_ros.localization, "Localizer", _StubLocalizer)
    yield _StubLocalizer
    _StubLocalizer.stop_after = 10**9


def _localize(run: Run, place: Place, *more: str) -> tuple[int, Mapping[str, object], str]:
    code, _, err = run(
        "localize", place / "place.devmap", "--images", place / "images", "--camera", CAMERA,
        "--output", place / "new.txt", "--json", place / "stats.json", *more,
    )  # fmt: skip
    return code, json.loads((place / "stats.json").read_text()), err


@pytest.mark.usefixtures("stub")
def test_images_in_formats_that_are_not_read_are_told(run: Run, place: Place) -> None:
    (place / "images/IMG_1.HEIC").touch()
    _, stats, err = _localize(run, place)
    assert len(stats["images"]) == 6  # type: ignore[arg-type]
    assert "1 files of" in err
    assert ".heic is not read (IMG_1.HEIC, ...)" in err


@pytest.mark.usefixtures("stub")
def test_every_image_without_a_pose_has_a_reason(run: Run, place: Place) -> None:
    (place / "images/broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    cv2.imwrite(str(place / "images/half.png"), np.zeros((24, 32), np.uint8))
    cv2.imwrite(str(place / "images/turned.png"), np.zeros((64, 48), np.uint8))
    cv2.imwrite(str(place / "images/wide.png"), np.zeros((48, 100), np.uint8))
    code, stats, err = _localize(run, place, "--batch", "4")
    assert code == 3
    assert (place / "new.txt").read_text() == ""
    records = {record["name"]: record for record in stats["images"]}  # type: ignore[attr-defined]
    assert len(records) == 10
    assert records["0.png"]["reason"] == "NO_POSE"
    assert "not an image" in records["broken.jpg"]["details"]
    assert records["half.png"]["camera_rescaled"]
    assert records["half.png"]["camera"].startswith("PINHOLE 32 24 25.0")
    assert "turned by 90 deg" in records["turned.png"]["details"]
    assert "same proportions" in records["wide.png"]["details"]
    assert stats["totals"]["failed_by_reason"] == {"NO_POSE": 7, "BAD_IMAGE": 3}  # type: ignore[index]
    assert "1 images (half.png, ...) have another size" in err


class _Pose(_StubLocalizer):
    """Finds the same pose for every image."""

    def localize_batch(
        self,
        images: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]],
        cameras: list[Camera],
        priors: None = None,
        references: None = None,
    ) -> list[PoseEstimate]:  # type: ignore[override]
        if len(self.seen) >= self.stop_after:
            raise OSError("no such device")
        self.seen += [(camera.width, camera.height) for camera in cameras]
        none = np.zeros((0, 2))
        found = Correspondences(none, np.zeros((0, 3)), none[:, 0], np.zeros(0, np.int64), none)
        estimate = PoseEstimate(
            Transform.identity(), np.eye(6), found, np.zeros(0, bool), found, (), {}
        )
        return [estimate for _ in images]


def _names_of_all_kinds(place: Place) -> list[str]:
    names = ["#1.png", " space.png", os.fsdecode(b"caf\xe9.png"), "plain.png", "two words.png"]
    for name in names:
        shutil.copy(place / "images/0.png", place / "images" / name)
    return names


def test_a_name_that_a_pose_file_cannot_hold_loses_no_other(
    run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deviloc_ros.localization, "Localizer", _Pose)
    names = _names_of_all_kinds(place)
    code, stats, err = _localize(run, place)
    assert code == 0
    written = read_poses(place / "new.txt")
    assert written.keys() == {*(f"{i}.png" for i in range(6)), "plain.png", "two words.png"}
    assert {record["name"] for record in stats["images"]} >= set(names)  # type: ignore[attr-defined]
    assert "the pose of '#1.png' is not in" in err
    assert "begins with #" in err
    assert "begins or ends with a space" in err
    assert "not UTF-8" in err


def test_results_until_an_error_are_kept(
    run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deviloc_ros.localization, "Localizer", _Pose)
    monkeypatch.setattr(_Pose, "stop_after", 2)
    code, stats, err = _localize(run, place)
    assert code == 2
    assert "no such device" in err
    assert len(read_poses(place / "new.txt")) == 2
    assert stats["interrupted"] is True


def test_interrupted_results_are_kept(run: Run, place: Place, stub: type[_StubLocalizer]) -> None:
    stub.stop_after = 2
    code, stats, err = _localize(run, place)
    assert code == 130
    assert err.endswith("deviloc: interrupted\n")
    assert stats["interrupted"] is True
    assert stats["totals"]["images"] == 2  # type: ignore[index]


def test_sigterm_ends_a_command_as_ctrl_c_does(place: Place) -> None:
    code = (
        "import os, signal, sys\nfrom deviloc_ros.cli import evaluate, main\n"
        "def run(args):\n    os.kill(os.getpid(), signal.SIGTERM)\n    return 0\n"
        "evaluate.run = run\n"
        "sys.exit(main.main(['evaluate', '--poses', 'p', '--model', 'm']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "deviloc: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_output_may_be_cut_by_its_reader(place: Place) -> None:
    command = [
        sys.executable,
        "-m",
        "deviloc_ros.cli.main",
        "map",
        "info",
        str(place / "place.devmap"),
    ]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_full_disk_leaves_no_file(
    run: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "new.devmap")

    monkeypatch.setattr("deviloc_ros.maps.map_file.save_file", full)
    before = shutil.copy(place / "place.devmap", place / "copy")
    code, _, err = run("map", "align", place / "place.devmap", "--scale", "2")
    assert code == 2
    assert "No space left" in err
    assert (place / "place.devmap").read_bytes() == Path(before).read_bytes()
    assert not list(place.folder.glob(".*"))

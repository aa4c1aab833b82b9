"""Matcher topicfm from the command line to a pose, on a tiny place with weights made by rule.

Such weights know nothing of scenes, but what they say of a pixel depends on what is around it, so
images of one wall match. What the fine stage would add is noise: its weights are made so small that
it leaves every match at its cell.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.cli.main import main
from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.datasets.poses import read_poses
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.localization.types import (
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
    Query,
)
from deviloc_ros.maps.map import Map
from deviloc_ros.models.published.absolute_pose import estimate_pose
from deviloc_ros.models.published.deviloc import DeViLoc
from deviloc_ros.models.published.pin_geometry import ReferenceCamera
from deviloc_ros.models.published.preprocessing import network_tensor
from deviloc_ros.models.published.reference import EncodedReference, ReferenceView
from deviloc_ros.models.published.reference_files import ReferenceCache
from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.topicfm.matcher import TopicFM
from deviloc_ros.models.weight_store import load_network

WIDTH, HEIGHT, FOCAL, DISTANCE = 160, 112, 160.0, 5.0
CAMERA = Camera.parse(f"PINHOLE {WIDTH} {HEIGHT} {FOCAL} {FOCAL} {WIDTH / 2} {HEIGHT / 2}")
STEP = 16  # pixels that the view moves along the wall from one image to the next
NUM_REFERENCES = 4
NUM_POINTS = 1500
# What suits images this small and weights that know nothing.
SETTINGS: dict[str, Any] = {
    "matching.matcher": "topicfm",
    "retrieval.num_references": 3,
    "features.num_keypoints": 256,
    "features.backend": "torch",
    "topicfm.image_size": WIDTH,
    "topicfm.coarse_threshold": 0.05,
    "topicfm.cell_size": 2.0,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images of a wall, their model, weights, and a map of each kind."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "images").mkdir()
    generator = np.random.default_rng(0)
    wall = generator.uniform(0, 255, (HEIGHT, WIDTH + NUM_REFERENCES * STEP)).astype(np.float32)
    wall = np.asarray(cv2.GaussianBlur(wall, (0, 0), 1.5), np.float32)
    wall = (wall - wall.min()) / np.ptp(wall) * 255
    for i in range(NUM_REFERENCES):
        view = np.ascontiguousarray(wall[:, i * STEP : i * STEP + WIDTH]).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), view)
    _write_model(folder / "model", generator.uniform((0, 0), wall.shape[::-1], (NUM_POINTS, 2)))
    state = {f"model.{key}": value for key, value in rule_network("test").state_dict().items()}
    for key, value in state.items():
        if ".norm_outlayer1." in key or ".fine_net." in key:
            value.mul_(1e-3)
    torch.save({"state_dict": state}, folder / "deviloc_weights.ckpt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        assert main(["weights", "import", str(folder / "deviloc_weights.ckpt")]) == 0
        for matcher in ("topicfm", "xfeat"):
            assert main(build_command(folder, f"{matcher}.devmap", "--matcher", matcher)) == 0
    return folder


@pytest.fixture(autouse=True)
def _own_data_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(place))


def build_command(place: Path, output: str, *more: str) -> list[str]:
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    return [
        "map", "build", "--images", str(place / "images"), "--model", str(place / "model"),
        "--output", str(place / output), *settings, *more,
    ]  # fmt: skip


def _write_model(folder: Path, points: NDArray[np.float64]) -> None:
    """Write a COLMAP model of the wall with points at these of its pixels."""
    folder.mkdir()
    (folder / "cameras.txt").write_text(f"1 {CAMERA}\n")
    tracks: list[list[str]] = [[] for _ in points]
    lines = []
    for i in range(NUM_REFERENCES):
        pixels = points - (i * STEP, 0)
        seen = np.flatnonzero((pixels[:, 0] > 0) & (pixels[:, 0] < WIDTH))
        lines.append(f"{i + 1} 1 0 0 0 {-i * STEP / FOCAL * DISTANCE} 0 0 1 {i}.png")
        lines.append(
            " ".join(f"{x} {y} {p + 1}" for p, (x, y) in zip(seen, pixels[seen], strict=True))
        )
        for place_in_image, point in enumerate(seen):
            tracks[point].append(f"{i + 1} {place_in_image}")
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    wall = (points - (WIDTH / 2, HEIGHT / 2)) / FOCAL * DISTANCE
    (folder / "points3D.txt").write_text(
        "".join(
            f"{p + 1} {x} {y} {DISTANCE} 0 0 0 0.1 {' '.join(track)}\n"
            for p, ((x, y), track) in enumerate(zip(wall, tracks, strict=True))
        )
    )


def localizer(place: Path, **changes: Any) -> Localizer:
    more = {key.replace("__", "."): value for key, value in changes.items()}
    return Localizer.load(place / "topicfm.devmap", build(LocalizerConfig, SETTINGS | more, "test"))


def image(place: Path, index: int) -> NDArray[np.uint8]:
    return read_gray(place / "images" / f"{index}.png")


warm_localizer = cache(localizer)


def localize(place: Path, index: int, **changes: Any) -> PoseEstimate:
    result = warm_localizer(place, **changes).localize(image(place, index), CAMERA)
    assert isinstance(result, PoseEstimate), result
    return result


def true_pose(index: int) -> Transform:
    return Transform(Rotation.identity(), np.array([-index * STEP / FOCAL * DISTANCE, 0, 0]))


@pytest.mark.parametrize("behaviour", ["compat", "fix"])
def test_poses_are_right_in_a_map_of_the_command_line(place: Path, behaviour: str) -> None:
    for index in range(NUM_REFERENCES):
        result = localize(place, index, topicfm__behaviour=behaviour)
        distance, degrees = result.camera_from_map.inverse().distance_to(true_pose(index).inverse())
        assert distance < 0.1
        assert degrees < 1
        assert result.num_inliers > 100
        # The views differ by whole pixels along x, and so must the keypoints of a match.
        matches = result.matches
        shift = matches.keypoints - matches.reference_keypoints
        shift[:, 0] -= (matches.reference - index) * STEP
        right = np.abs(shift).max(axis=1) < 0.1
        assert right.mean() > 0.95
        observed = matches.select(right & (matches.confidence == 1))
        assert len(set(observed.reference)) == 3
        projected = CAMERA.project(true_pose(index).apply(observed.points3d))
        assert np.linalg.norm(projected - observed.keypoints, axis=1).max() < 2.1


def test_only_fix_is_in_the_pixel_convention_of_the_map(place: Path) -> None:
    published, mended = (
        localize(place, 0, topicfm__behaviour=name).matches for name in ("compat", "fix")
    )
    for compat, fix in (
        (published.keypoints, mended.keypoints),
        (published.reference_keypoints, mended.reference_keypoints),
    ):
        assert np.abs(compat % 8 - np.rint(compat % 8)).max() < 0.1
        assert np.abs((fix - 0.5) % 8 - np.rint((fix - 0.5) % 8)).max() < 0.1


def test_compat_gives_what_the_published_method_gives(place: Path) -> None:
    """The same numbers as by hand: from the image files to PnP, without map file and localizer."""
    result = localize(place, 1)
    settings = build(LocalizerConfig, SETTINGS, "test").topicfm
    method = DeViLoc(load_network(), settings)
    stored = Map.load(place / "topicfm.devmap")
    names = [reference.name for reference in stored.references]
    query = method.encode_query(network_tensor(image(place, 1)), (1.0, 1.0))
    encoded = []
    order = list(dict.fromkeys(result.matches.reference))
    for index in order:
        pose, seen = stored.references[index].camera_from_map, stored.observations_of(index)
        camera = ReferenceCamera(
            torch.from_numpy(CAMERA.intrinsics), torch.from_numpy(pose.matrix), torch.zeros(4)
        )
        pixels = torch.from_numpy(np.array(stored.observation_pixels[seen])).double()
        points = torch.from_numpy(stored.points3d[stored.observation_points[seen]])
        picture = network_tensor(read_gray(place / "images" / names[index]))
        view = ReferenceView(picture, (1.0, 1.0), pixels, points, camera)
        encoded.append(method.encode_reference(view))
    merged = method.merge(method.match(query, encoded))
    np.testing.assert_array_equal(result.correspondences.keypoints, merged.keypoints.numpy())
    np.testing.assert_array_equal(result.correspondences.points3d, merged.points.numpy())
    pose = estimate_pose(
        merged.keypoints.double().numpy(), merged.points.double().numpy(), CAMERA, settings
    )
    assert pose is not None
    np.testing.assert_array_equal(pose.camera_from_map.matrix, result.camera_from_map.matrix)
    np.testing.assert_array_equal(pose.inliers, result.inliers)


def test_the_same_image_gives_the_same_pose(place: Path) -> None:
    one = localizer(place)
    first, again = (one.localize(image(place, 2), CAMERA) for _ in range(2))
    other = localize(place, 2)
    assert isinstance(first, PoseEstimate)
    assert isinstance(again, PoseEstimate)
    for result in (again, other):
        np.testing.assert_array_equal(first.camera_from_map.matrix, result.camera_from_map.matrix)
        np.testing.assert_array_equal(first.matches.points3d, result.matches.points3d)


@pytest.mark.parametrize("behaviour", ["compat", "fix"])
def test_a_rig_is_localized(place: Path, behaviour: str) -> None:
    one = localizer(place, topicfm__behaviour=behaviour)
    poses = [reference.camera_from_map.inverse() for reference in one.map.references]
    base_from_camera = [Transform.identity(), poses[1].inverse() @ poses[2]]
    result = one.localize_rig(
        [image(place, 1), image(place, 2)], [CAMERA, CAMERA], base_from_camera
    )
    assert isinstance(result, RigEstimate), str(result)
    metres, degrees = result.map_from_base.distance_to(poses[1])
    assert metres < 0.1
    assert degrees < 1.0
    assert all(view.num_inliers > 30 for view in result.views)
    assert np.linalg.eigvalsh(result.covariance).min() > 0


def test_backbones_run_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for the query whatever the number of references, and once for each new reference."""
    encode, runs = TopicFM.encode, []

    def counted(self: TopicFM, images: torch.Tensor, *others: Any) -> Any:
        runs.append(len(images))
        return encode(self, images, *others)

    monkeypatch.setattr(TopicFM, "encode", counted)
    one = localizer(place, retrieval__num_references=NUM_REFERENCES)
    one.localize(image(place, 0), CAMERA)
    assert sum(runs) == 1 + NUM_REFERENCES
    one.localize(image(place, 1), CAMERA)
    assert sum(runs) == 1 + NUM_REFERENCES + 1
    runs.clear()
    forgetful = localizer(place, topicfm__cache_mb=0)
    for _ in range(2):
        forgetful.localize(image(place, 0), CAMERA)
    assert sum(runs) == 2 * (1 + 3)


def test_memory_of_references_is_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get, held = ReferenceCache.get, []

    def watched(self: ReferenceCache, key: Any, encode: Callable[[], EncodedReference]) -> Any:
        reference = get(self, key, encode)
        held.append((len(self), self.num_bytes))
        return reference

    monkeypatch.setattr(ReferenceCache, "get", watched)
    one = localizer(place, retrieval__num_references=NUM_REFERENCES)
    one.localize(image(place, 0), CAMERA)
    (_, size), megabyte = held[0], 1_000_000
    held.clear()
    limit = int(2.5 * size / megabyte)
    bounded = localizer(
        place, retrieval__num_references=NUM_REFERENCES, topicfm__cache_mb=limit
    ).localize(image(place, 0), CAMERA)
    assert isinstance(bounded, PoseEstimate)
    assert [count for count, _ in held] == [1, 2, 2, 2]
    assert max(size for _, size in held) <= limit * megabyte


def test_references_kept_on_disk_are_used_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path)
    first = localizer(place, topicfm__cache_folder=folder).localize(image(place, 0), CAMERA)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3

    def refuse(*_: Any) -> None:
        raise AssertionError("a reference was encoded again")

    monkeypatch.setattr(DeViLoc, "encode_reference", refuse)
    again = localizer(place, topicfm__cache_folder=folder).localize(image(place, 0), CAMERA)
    assert isinstance(first, PoseEstimate)
    assert isinstance(again, PoseEstimate)
    np.testing.assert_array_equal(first.camera_from_map.matrix, again.camera_from_map.matrix)


def test_references_with_few_points_are_left_out(place: Path) -> None:
    counts = np.diff(Map.load(place / "topicfm.devmap").observation_offsets)
    fewest = int(counts.argmin())
    limit = int(counts.min())
    assert (counts > limit).sum() == NUM_REFERENCES - 1
    changes = {"retrieval__num_references": 4, "topicfm__min_observations": limit}
    result = localize(place, 1, **changes)
    assert sorted(set(result.matches.reference)) == [
        index for index in range(NUM_REFERENCES) if index != fewest
    ]
    nobody = localizer(place, topicfm__min_observations=NUM_POINTS).localize(
        image(place, 1), CAMERA
    )
    assert isinstance(nobody, LocalizationFailure)
    assert nobody.reason is FailureReason.NO_REFERENCES


def test_a_smaller_query_takes_smaller_references(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, sizes = TopicFM.encode, []

    def watched(self: TopicFM, images: torch.Tensor, *others: Any) -> Any:
        sizes.append(max(images.shape[-2:]))
        return encode(self, images, *others)

    monkeypatch.setattr(TopicFM, "encode", watched)
    small = cv2.resize(image(place, 0), (120, 84), interpolation=cv2.INTER_AREA)
    localizer(place).localize(np.asarray(small, np.uint8), CAMERA.scaled(120, 84))
    assert sizes == [112] * (1 + 3)


def test_the_map_holds_the_images_without_loss_and_serves_both_matchers(place: Path) -> None:
    stored = Map.load(place / "topicfm.devmap")
    assert stored.image_size == WIDTH
    assert stored.meta["matcher"] == "topicfm"
    assert stored.meta["topicfm_calibration_poses"] == NUM_REFERENCES
    for index in range(NUM_REFERENCES):
        np.testing.assert_array_equal(stored.image_of(index), image(place, index))
    # Those of other maps are reduced for alignment, and not for this matcher.
    assert Map.load(place / "xfeat.devmap").image_size is None
    default = Localizer.load(place / "topicfm.devmap", LocalizerConfig())
    result = default.localize(image(place, 0), CAMERA)
    assert isinstance(result, PoseEstimate)
    assert "encode" not in result.stage_seconds


def test_xfeat_features_alone_are_no_query(place: Path) -> None:
    one = localizer(place)
    (features,) = one._pipeline.extractor.extract([image(place, 0)])
    with pytest.raises(ValueError, match="needs the query's image"):
        one.localize_query(Query(features, CAMERA, None))


def test_localize_command_and_its_refusals(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(devmap: str, *more: str) -> tuple[int, str]:
        settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
        code = main(
            ["localize", str(place / devmap), "--images", str(place / "images"),
             "--camera", str(CAMERA),
             "--output", str(tmp_path / "poses.txt"), *settings, *more]
        )  # fmt: skip
        return code, capsys.readouterr().err

    code, _ = run("topicfm.devmap")
    assert code == 0
    poses = read_poses(tmp_path / "poses.txt")
    assert set(poses) == {f"{i}.png" for i in range(NUM_REFERENCES)}
    (tmp_path / "poses.txt").unlink()

    def assert_refused(answer: tuple[int, str], *said: str) -> None:
        code, message = answer
        assert code == 2
        assert message.count("\n") == 1
        assert all(part in message for part in said)
        assert not (tmp_path / "poses.txt").exists()

    assert_refused(
        run("xfeat.devmap"), "xfeat.devmap", "deviloc map build --matcher topicfm", "xfeat"
    )
    assert_refused(run("topicfm.devmap", "--set=topicfm.image_size=320"), "image_size", str(WIDTH))
    assert_refused(
        run("topicfm.devmap", f"--set=topicfm.cache_folder={tmp_path / 'none'}"), "cache_folder"
    )
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert_refused(run("topicfm.devmap"), "deviloc weights import")
    capsys.readouterr()
    assert main(build_command(place, "again.devmap")) == 2
    assert "deviloc weights import" in capsys.readouterr().err
    assert not list(place.glob("again.devmap*"))


def test_a_camera_that_pin_does_not_know_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "images", tmp_path / "images")
    shutil.copytree(place / "model", tmp_path / "model")
    fisheye = f"1 OPENCV_FISHEYE {WIDTH} {HEIGHT} 200 200 96 72 0 0 0 0\n"
    (tmp_path / "model" / "cameras.txt").write_text(fisheye)
    assert main(build_command(tmp_path, "a.devmap")) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "0.png: camera model OPENCV_FISHEYE" in message
    stored = Map.load(place / "topicfm.devmap")
    references = [
        replace(reference, camera=Camera.parse(fisheye[2:])) for reference in stored.references
    ]
    with pytest.raises(InputError, match=r"topicfm.devmap: 0.png: camera model OPENCV_FISHEYE"):
        Localizer(replace(stored, references=references), build(LocalizerConfig, SETTINGS, "test"))

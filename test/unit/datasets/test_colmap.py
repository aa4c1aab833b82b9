"""COLMAP models: whole ones are read, damaged ones are told in one line and never crash."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.colmap import PosedImage, posed_images, read_model, write_posed_images
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

FILES = ("cameras", "images", "points3D", "rigs", "frames")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one model of two rigs and points as `bin` and as `txt`."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs = options.num_cameras_per_rig = 2
    options.num_frames_per_rig = 3
    options.num_points3D = 30
    pycolmap.set_random_seed(0)
    model = pycolmap.synthesize_dataset(options)
    folder = tmp_path_factory.mktemp("models")
    for suffix, write in (("bin", model.write_binary), ("txt", model.write_text)):
        (folder / suffix).mkdir()
        write(folder / suffix)
    return folder


@pytest.fixture
def text_model(tmp_path: Path) -> Path:
    """Return a folder with cameras.txt and images.txt alone."""
    write_posed_images(tmp_path, _images())
    (tmp_path / "points3D.txt").unlink()
    return tmp_path


def _images() -> list[PosedImage]:
    cameras = Camera.parse("PINHOLE 64 48 50 51 32 24"), Camera.parse("OPENCV 9 8 7 7 4 4 0 0 0 .1")
    return [
        PosedImage(
            f"left/{i}.jpg",
            cameras[i % 2],
            Transform(Rotation.from_rotvec([0.1 * i, 0.2, 0.3]), np.array([i, 1 / 3, -1e-7])),
        )
        for i in range(5)
    ]


def _corrupt(folder: Path, name: str, line: int, old: str, new: str) -> None:
    path = folder / name
    lines = path.read_text().split("\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    path.write_text("\n".join(lines))


def test_written_poses_are_read_back_exactly(text_model: Path) -> None:
    read = posed_images(text_model)
    for written, image in zip(_images(), read, strict=True):
        assert (image.name, image.camera) == (written.name, written.camera)
        np.testing.assert_allclose(
            image.camera_from_map.matrix, written.camera_from_map.matrix, atol=1e-15
        )


def test_binary_and_text_of_a_model_with_rigs_agree(models: Path) -> None:
    binary, text = posed_images(models / "bin"), posed_images(models / "txt")
    assert len(binary) == len(text) == 12
    for a, b in zip(binary, text, strict=True):
        assert a.name == b.name
        np.testing.assert_allclose(a.camera_from_map.matrix, b.camera_from_map.matrix, atol=1e-12)
    assert len(read_model(models / "bin").points3D) == 30


def test_poses_of_a_rig_are_those_that_colmap_computes(models: Path) -> None:
    model = pycolmap.Reconstruction(models / "bin")
    expected = {i.name: i.cam_from_world().matrix() for i in model.images.values()}
    for image in posed_images(models / "bin"):
        np.testing.assert_allclose(
            image.camera_from_map.matrix[:3], expected[image.name], atol=1e-12
        )


@pytest.mark.parametrize("suffix", ["bin", "txt"])
def test_points_may_be_missing(models: Path, tmp_path: Path, suffix: str) -> None:
    shutil.copytree(models / suffix, tmp_path / "m")
    (tmp_path / "m" / f"points3D.{suffix}").unlink()
    assert len(posed_images(tmp_path / "m")) == 12
    model = read_model(tmp_path / "m")
    assert len(model.points3D) == 0
    assert not any(
        point.has_point3D() for image in model.images.values() for point in image.points2D
    )


def test_observations_of_points_that_are_there_stay(models: Path) -> None:
    model = read_model(models / "bin")
    observed = sum(
        point.has_point3D() for image in model.images.values() for point in image.points2D
    )
    assert observed == sum(point.track.length() for point in model.points3D.values()) > 0


def test_a_byte_order_mark_changes_nothing(models: Path, tmp_path: Path) -> None:
    expected = read_model(models / "txt")
    marked = tmp_path / "marked"
    marked.mkdir()
    for path in (models / "txt").iterdir():
        text = path.read_bytes().replace(b"\n", b"\r\n")  # as Windows programs write it
        (marked / path.name).write_bytes(b"\xef\xbb\xbf" + text)
    found = read_model(marked)
    assert {i.name for i in found.images.values()} == {i.name for i in expected.images.values()}
    assert len(found.points3D) == len(expected.points3D)
    assert [image.camera for image in posed_images(marked)] == [
        image.camera for image in posed_images(models / "txt")
    ]


def test_names_that_the_text_format_cannot_hold(text_model: Path) -> None:
    with pytest.raises(InputError, match="cannot hold the name"):
        write_posed_images(text_model, [replace(_images()[0], name="a b.jpg")])
    _corrupt(text_model, "images.txt", 1, "left/0.jpg", "left/0 of 5.jpg")
    with pytest.raises(InputError, match=r"images\.txt:1: the name 'left/0 of 5\.jpg' has a space"):
        posed_images(text_model)


def test_missing_folder_and_missing_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        posed_images(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a COLMAP model"):
        posed_images(tmp_path)


def test_a_model_further_down_is_pointed_to(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "txt", tmp_path / "sparse" / "0")
    with pytest.raises(InputError, match="sparse/0; give that"):
        posed_images(tmp_path)


@pytest.mark.parametrize(
    ("name", "line", "old", "new", "expected"),
    [
        ("cameras.txt", 1, "PINHOLE", "KODAK", "cameras.txt:1: camera model 'KODAK' is unknown"),
        ("cameras.txt", 1, " 24.0", "", "cameras.txt:1: PINHOLE takes 4"),
        ("cameras.txt", 1, "64", "0", "cameras.txt:1: image size 0 x 48"),
        ("cameras.txt", 1, "64", "99999999", "cameras.txt:1: image size"),
        ("cameras.txt", 1, "50.0", "inf", "cameras.txt:1: PINHOLE takes 4 finite"),
        ("cameras.txt", 1, "64", "²", "cameras.txt:1: expected 'CAMERA_ID"),
        ("cameras.txt", 1, "1 ", "99999999999 ", "cameras.txt:1: expected 'CAMERA_ID"),
        ("images.txt", 3, "2 ", "4294967295 ", "images.txt:3: expected 'IMAGE_ID"),
        ("images.txt", 3, "2 ", "two ", "images.txt:3: expected 'IMAGE_ID"),
        ("images.txt", 3, " 1.0 ", " one ", "images.txt:3: tx is 'one'"),
        ("images.txt", 3, " 1.0 ", " nan ", "images.txt:3: tx is 'nan'"),
        ("images.txt", 3, " 0.", " 9.", "images.txt:3: .* is not a unit quaternion"),
        ("images.txt", 2, "", "1 2", "images.txt:2: expected the 2D points of left/0.jpg"),
        ("images.txt", 3, " 2 left", " 77 left", "do not fit together"),
        ("images.txt", 3, "left/1", "left/0", "two images are named left/0"),
    ],
)
def test_a_wrong_line_is_named(
    text_model: Path, name: str, line: int, old: str, new: str, expected: str
) -> None:
    _corrupt(text_model, name, line, old, new)
    with pytest.raises(InputError, match=expected) as error:
        posed_images(text_model)
    assert "\n" not in str(error.value)


def test_images_without_their_second_lines_are_not_lost_in_silence(text_model: Path) -> None:
    path = text_model / "images.txt"
    path.write_text("\n".join(line for line in path.read_text().split("\n") if line))
    with pytest.raises(InputError, match=r"images\.txt:2: .*every image takes two lines"):
        posed_images(text_model)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_binary_file_cut_off_is_named(
    models: Path, tmp_path: Path, name: str, share: float
) -> None:
    shutil.copytree(models / "bin", tmp_path / "m")
    path = tmp_path / "m" / f"{name}.bin"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=rf"{name}\.bin"):
        posed_images(tmp_path / "m")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("count", [2**30, 2**63 - 1, 2**64 - 1])
def test_a_count_beyond_the_file_is_refused_before_memory_is_taken(
    models: Path, tmp_path: Path, name: str, count: int
) -> None:
    shutil.copytree(models / "bin", tmp_path / "m")
    path = tmp_path / "m" / f"{name}.bin"
    path.write_bytes(count.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(InputError, match=rf"{name}\.bin: names {count}"):
        posed_images(tmp_path / "m")


@pytest.mark.parametrize(("there", "missing"), [("rigs", "frames"), ("frames", "rigs")])
def test_rigs_and_frames_come_together(
    models: Path, tmp_path: Path, there: str, missing: str
) -> None:
    shutil.copytree(models / "bin", tmp_path / "m")
    (tmp_path / "m" / f"{missing}.bin").unlink()
    with pytest.raises(InputError, match=rf"{missing}\.bin: is missing, but {there}\.bin"):
        posed_images(tmp_path / "m")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["bin", "txt"]),
    name=st.sampled_from(FILES),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    ),
)
def test_no_damage_crashes_or_passes_as_another_exception(
    models: Path, tmp_path: Path, suffix: str, name: str, edits: list[tuple[float, int]]
) -> None:
    folder = tmp_path / "m"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(models / suffix, folder)
    path = folder / f"{name}.{suffix}"
    data = bytearray(path.read_bytes())
    for place, value in edits:
        data[int(place * len(data))] = value
    path.write_bytes(data)
    try:
        images = posed_images(folder)
    except InputError:
        return
    assert all(np.isfinite(image.camera_from_map.matrix).all() for image in images)


def test_a_pose_beyond_any_place_is_named(text_model: Path) -> None:
    path = text_model / "images.txt"
    path.write_text(path.read_text().replace("3.0 0.3333333333333333", "3.0 -1e12"))
    with pytest.raises(InputError, match=r"the pose of left/3.jpg: translation .* farther away"):
        posed_images(text_model)

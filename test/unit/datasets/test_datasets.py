"""Pose files, positions, query cameras and image folders."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.image_folder import list_images, unread_images
from deviloc_ros.datasets.poses import (
    read_poses,
    read_positions,
    read_tum,
    write_poses,
    write_tum,
)
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.offline.query_cameras import one_camera, read_cameras

CAMERA = "PINHOLE 640 480 500 500 320 240"

transforms = st.builds(
    lambda vector, translation: Transform(Rotation.from_rotvec(vector), np.array(translation)),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(-1e7, 1e7)] * 3),
)
names = st.from_regex(r"[A-Za-z0-9_.\-][A-Za-z0-9_./ \-]{0,20}[A-Za-z0-9_.\-]", fullmatch=True)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def _assert_same(a: Transform, b: Transform) -> None:
    np.testing.assert_array_equal(a.translation, b.translation)
    np.testing.assert_allclose(a.rotation.as_matrix(), b.rotation.as_matrix(), atol=1e-15)


@in_one_folder
@given(st.dictionaries(names, transforms, max_size=5))
def test_pose_file_round_trip(tmp_path: Path, poses: dict[str, Transform]) -> None:
    path = tmp_path / "poses.txt"
    write_poses(path, poses)
    again = read_poses(path)
    assert list(again) == list(poses)
    for name, pose in poses.items():
        _assert_same(again[name], pose)


@in_one_folder
@given(st.lists(st.tuples(st.integers(0, 2**62), transforms), max_size=5))
def test_tum_round_trip_keeps_every_nanosecond(
    tmp_path: Path, trajectory: list[tuple[int, Transform]]
) -> None:
    path = tmp_path / "tum.txt"
    write_tum(path, trajectory)
    for (stamp, pose), (stamp_again, again) in zip(trajectory, read_tum(path), strict=True):
        assert stamp_again == stamp
        _assert_same(again, pose)


def test_field_orders_are_those_of_the_formats(tmp_path: Path) -> None:
    pose = Transform.from_quaternion((0.5, -0.5, 0.5, 0.5), (1, 2, 3))
    write_poses(tmp_path / "poses.txt", {"a.jpg": pose})
    assert (tmp_path / "poses.txt").read_text() == "a.jpg 0.5 -0.5 0.5 0.5 1.0 2.0 3.0\n"
    write_tum(tmp_path / "tum.txt", [(1_000_000_002, pose)])
    assert (tmp_path / "tum.txt").read_text() == "1.000000002 1.0 2.0 3.0 -0.5 0.5 0.5 0.5\n"


def test_comments_empty_lines_windows_and_unnormalised_quaternions(tmp_path: Path) -> None:
    path = tmp_path / "poses.txt"
    path.write_bytes(b"\xef\xbb\xbf# a comment\r\n\r\nb/1.jpg 2 0 0 0 1 2 3\r\n")
    (pose,) = read_poses(path).values()
    np.testing.assert_allclose(pose.quaternion_wxyz, [1, 0, 0, 0])


def test_positions(tmp_path: Path) -> None:
    path = tmp_path / "positions.txt"
    path.write_text("a.jpg 1 2 3\na b.jpg -1e3 0 .5\n")
    positions = read_positions(path)
    np.testing.assert_array_equal(positions["a b.jpg"], [-1000, 0, 0.5])
    assert list(positions) == ["a.jpg", "a b.jpg"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("read", "content", "expected"),
    [
        (read_poses, "a.jpg 1 0 0 0 1 2", r":1: expected 'name qw qx qy qz tx ty tz', got 7"),
        (read_poses, "\na.jpg 1 0 0 0 1 2 z", r":2: 'z' is not a finite number"),
        (read_poses, "a.jpg 1 0 0 0 1 2 inf", r":1: 'inf' is not a finite number"),
        (read_poses, "a.jpg 0 0 0 0 1 2 3", r":1: the quaternion .* cannot be normalised"),
        (read_poses, "a.jpg 1 0 0 -1e308 1 2 3", r":1: the quaternion .* cannot be normalised"),
        (read_poses, "a.jpg 1 0 0 0 1 2 -1e308", r":1: translation .* is farther away than 1e\+09"),
        (read_positions, "a.jpg 1 2 -1e308", r":1: the position .* is beyond 1e\+09 m"),
        (read_poses, "a 1 0 0 0 1 2 3\n" * 2, r":2: a has a pose already"),
        (read_tum, "1.5 1 2 3 0 0 0", r":1: expected 'timestamp tx"),
        (read_tum, "soon 1 2 3 0 0 0 1", r":1: 'soon' is not a time stamp"),
        (read_tum, "inf 1 2 3 0 0 0 1", r":1: 'inf' is not a time stamp"),
        (read_positions, "a 1 2", r":1: expected 'name x y z', got 3"),
        (read_positions, "a 1 2 3\na 1 2 3", r":2: a has a position already"),
    ],
)
def test_a_wrong_line_is_named(
    tmp_path: Path, read: Callable[[Path], object], content: str, expected: str
) -> None:
    path = tmp_path / "file.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=expected) as error:
        read(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("read", [read_poses, read_tum, read_positions, read_cameras])
def test_files_that_cannot_be_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        read(tmp_path / "binary")


@given(st.lists(st.one_of(st.text(), st.sampled_from(["# a.jpg", " a", "a\r.jpg", "caf\udce9"]))))
def test_names_that_could_not_be_read_back_are_left_out_and_told(names: list[str]) -> None:
    pose = Transform.identity()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poses.txt"
        left_out = write_poses(path, dict.fromkeys(names, pose))
        assert read_poses(path).keys() == set(names) - left_out.keys()
    assert all(left_out.values())
    for name in left_out:
        assert not name or name[0] in "# " or not name.isprintable() or name != name.strip()


@pytest.mark.parametrize("line", [f"1 {CAMERA}", CAMERA, f"# c\n7 {CAMERA}\n8 {CAMERA}"])
def test_one_camera_for_all_images(tmp_path: Path, line: str) -> None:
    path = tmp_path / "cameras.txt"
    path.write_text(line + "\n")
    pairing = read_cameras(path).pair(["a.jpg", "b/c.jpg"])
    assert pairing.cameras == dict.fromkeys(["a.jpg", "b/c.jpg"], Camera.parse(CAMERA))
    assert not pairing.without_camera
    assert not pairing.without_image


def test_a_query_list_says_which_images_are_queries(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    other = "SIMPLE_RADIAL 800 600 700 400 300 0.1"
    path.write_text(f"night/b.jpg {other}\nday/a of 2.jpg {CAMERA}\ngone.jpg {CAMERA}\n")
    pairing = read_cameras(path).pair(["day/a of 2.jpg", "db/1.jpg", "night/b.jpg"])
    assert list(pairing.cameras) == ["day/a of 2.jpg", "night/b.jpg"]
    assert pairing.cameras["night/b.jpg"] == Camera.parse(other)
    assert pairing.without_camera == ("db/1.jpg",)
    assert pairing.without_image == ("gone.jpg",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "holds no camera"),
        ("# only a comment\n", "holds no camera"),
        ("1 PINHOLE 640 480 500 500 320", r":1: .*takes 4 parameters"),
        ("a.jpg KODAK 640 480 500 500 320 240", r":1: .*'KODAK' is unknown"),
        ("a.jpg", r":1: expected 'name MODEL"),
        (f"1 {CAMERA}\n2 PINHOLE 64 48 50 50 32 24", "holds 2 cameras and does not say"),
        (f"1 {CAMERA}\na.jpg {CAMERA}", "mixes lines"),
        (f"a.jpg {CAMERA}\na.jpg {CAMERA}", r":2: there is a camera of a\.jpg already"),
    ],
)
def test_camera_files_that_cannot_be_used(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "cameras.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=expected):
        read_cameras(path)


def test_a_query_list_of_other_images(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_text(f"query/a.jpg {CAMERA}\n")
    with pytest.raises(InputError, match=r"named like 'a\.jpg'; it names 'query/a\.jpg'"):
        read_cameras(path).pair(["a.jpg"])


def test_a_camera_from_the_command_line() -> None:
    assert one_camera(CAMERA).shared == Camera.parse(CAMERA)
    with pytest.raises(InputError, match="camera"):
        one_camera("PINHOLE 640")


def test_image_folders_are_searched_deep_and_sorted(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "z/1.jpeg", "z/deep/2.tif", ".hidden/3.jpg", ".4.jpg", "n.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "z" / "loop").symlink_to(tmp_path / "z", target_is_directory=True)
    assert list_images(tmp_path) == ["a.png", "b.JPG", "z/1.jpeg", "z/deep/2.tif"]


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        list_images(tmp_path / "nowhere")


def test_images_in_formats_that_are_not_read_are_named(tmp_path: Path) -> None:
    for name in ("b.HEIC", "raw/a.dng", ".hidden.heic", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert unread_images(tmp_path) == ["b.HEIC", "raw/a.dng"]
    with pytest.raises(InputError, match=r"no image that can be read \(but 2 such as b\.HEIC"):
        list_images(tmp_path)
    (tmp_path / "c.jpg").touch()
    assert list_images(tmp_path) == ["c.jpg"]

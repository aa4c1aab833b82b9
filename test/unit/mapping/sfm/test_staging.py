"""Images of any name and format reach COLMAP, under names and in formats that it can take."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deviloc_ros.datasets.image_folder import list_images
from deviloc_ros.errors import InputError, NothingFoundError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.mapping.sfm import steps
from deviloc_ros.mapping.sfm.intrinsics import Intrinsics
from deviloc_ros.mapping.sfm.reconstruction import StructureFromMotion
from deviloc_ros.mapping.sfm.staging import StagedImages

NAMES = (
    "plain.jpg",
    "my photo 1.jpg",
    "#1.png",
    " leading.jpg",
    "100%.jpg",
    "tab\there.jpg",
    "new\nline.jpg",
    os.fsdecode(b"caf\xe9.jpg"),
    "Straße 日本.jpg",
    "Holiday 2026/IMG (2).JPG",
    "back\\slash.png",
    f"{'日 ' * 60}.jpg",
    "phone.webp",
    "really a webp.jpg",
    "film.jp2",
)


def texture(seed: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Return an image in which SIFT finds something."""
    small = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of images with every kind of name."""
    images = tmp_path / "images"
    for seed, name in enumerate(NAMES):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        suffix = ".webp" if "webp" in name else Path(name).suffix.lower()
        (images / name).write_bytes(cv2.imencode(suffix, texture(seed))[1].tobytes())
    return images


def test_colmap_gets_features_of_images_of_any_name(folder: Path, tmp_path: Path) -> None:
    names = list_images(folder)
    assert sorted(names) == sorted(NAMES)
    sfm = StructureFromMotion(folder, tmp_path / "work", 0)
    assert sfm.stage(names) == {}
    sfm.import_images(dict.fromkeys(names, (96, 64)), Intrinsics())
    assert sfm.extract(names) == {}
    # A list of pairs that COLMAP could not read would leave pairs out, or raise.
    sfm.match([(first, "plain.jpg") for first in names if first != "plain.jpg"])
    with pycolmap.Database.open(sfm.database) as database:
        assert database.num_images() == len(NAMES)
        assert database.num_matched_image_pairs() == len(NAMES) - 1
    assert sorted(sfm.verified_matches()) == sorted(NAMES)


@given(
    st.lists(st.text(st.characters(blacklist_characters="/\0", max_codepoint=0x2FFF), min_size=1))
)
def test_names_stay_different_and_plain_ones_stay(names: list[str]) -> None:
    encodable = [name for name in names if not any(0xD800 <= ord(c) < 0xE000 for c in name)]
    staged = {name: StagedImages.name_of(name) for name in encodable}
    assert len(set(staged.values())) == len(set(encodable))
    for name, known in staged.items():
        assert len(known.split()) == 1
        assert not known.startswith("#")
        assert len(os.fsencode(known)) <= max(255, len(os.fsencode(name)))
        if name.isascii() and name.isalnum():
            assert known == name


def test_a_copy_keeps_the_focal_length_and_follows_its_source(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0xA405: 35}  # FocalLengthIn35mmFilm
    (tmp_path / "images").mkdir()
    path = tmp_path / "images/a.webp"
    Image.fromarray(texture(1)).save(path, exif=exif)
    staged = StagedImages(tmp_path / "images", tmp_path / "staged")
    assert staged.add(["a.webp"]) == {}
    copy = pycolmap.Bitmap.read(str(tmp_path / "staged/a.webp"), False)
    assert copy.exif_focal_length() == pytest.approx(35 / np.hypot(36, 24) * np.hypot(96, 64), 0.1)
    before = copy.to_array()
    Image.fromarray(texture(2)).save(path)
    os.utime(path, ns=(2**62, 2**62))
    assert staged.add(["a.webp"]) == {}
    after = pycolmap.Bitmap.read(str(tmp_path / "staged/a.webp"), False).to_array()
    assert (after != before).any()


def test_what_cannot_be_used_is_told_with_the_reason(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name, image in {"a.png": texture(1), "wall.png": np.full((64, 96), 90, np.uint8)}.items():
        cv2.imwrite(str(images / name), image)
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    sfm = StructureFromMotion(images, tmp_path / "work", 0)
    refused = sfm.stage(["a.png", "broken.jpg", "wall.png"])
    assert refused.keys() == {"broken.jpg"}
    assert "not an image" in refused["broken.jpg"]
    sfm.import_images(dict.fromkeys(["a.png", "wall.png"], (96, 64)), Intrinsics())
    without = sfm.extract(["a.png", "wall.png"])
    assert without.keys() == {"wall.png"}
    assert "nothing to find again" in without["wall.png"]


def test_colmap_begins_no_step_on_a_disk_that_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), texture(1))
    sfm = StructureFromMotion(tmp_path / "images", tmp_path / "work", 0)
    sfm.stage(["a.png"])
    sfm.import_images({"a.png": (96, 64)}, Intrinsics())
    monkeypatch.setattr(steps, "MIN_FREE_BYTES", 2**60)
    for step in (
        lambda: sfm.extract(["a.png"]),
        lambda: sfm.match([("a.png", "a.png")]),
        lambda: sfm.reconstruct(1, Intrinsics()),
    ):
        with pytest.raises(InputError, match=r"work: No space left: [\d.]+ MB on its disk"):
            step()


def test_two_images_are_too_few_and_that_is_said(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a b.png", "c.png"):
        cv2.imwrite(str(images / name), texture(1))
    with pytest.raises(NothingFoundError, match=r"2 of its images can be used.*at least 3"):
        build_map(images, tmp_path / "m.devmap", None, BuildOptions())
    assert not (tmp_path / "m.devmap").exists()


KNOWN = Camera("OPENCV", 640, 480, (500.0, 510.0, 330.0, 230.0, -0.1, 0.02, 0.001, -0.002))
POINTS = np.array([[0.2, -0.1, 1.0], [-0.3, 0.25, 1.0], [0.0, 0.3, 1.0]])


def test_a_known_camera_is_scaled_and_turned_to_the_image() -> None:
    known = Intrinsics(known=KNOWN)
    assert known.known_for("a.png", 640, 480) == KNOWN
    half = known.known_for("a.png", 320, 240).project(POINTS)
    np.testing.assert_allclose(half, KNOWN.project(POINTS) / 2)
    x, y = KNOWN.project(POINTS).T
    # A picture turned clockwise shows (x, y) at (height - y, x); the camera turns with it.
    turned = np.column_stack([-POINTS[:, 1], POINTS[:, 0], POINTS[:, 2]])
    portrait = known.known_for("a.png", 480, 640)
    np.testing.assert_allclose(portrait.project(turned), np.column_stack([480 - y, x]))
    np.testing.assert_allclose(
        known.known_for("a.png", 240, 320).project(turned) * 2, portrait.project(turned)
    )
    back = Intrinsics(known=portrait).known_for("a.png", 640, 480)
    np.testing.assert_allclose(back.params, KNOWN.params)
    with pytest.raises(InputError, match="same proportions"):
        known.known_for("a.png", 640, 640)


def test_images_of_every_size_get_the_known_camera(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    sizes = {"a.png": (640, 480), "b.png": (320, 240), "c.png": (480, 640), "d.png": (640, 480)}
    for seed, (name, (width, height)) in enumerate(sizes.items()):
        cv2.imwrite(str(images / name), texture(seed, width, height))
    sfm = StructureFromMotion(images, tmp_path / "work", 0)
    sfm.stage(list(sizes))
    sfm.import_images(sizes, Intrinsics(known=KNOWN))
    with pycolmap.Database.open(sfm.database) as database:
        cameras = {camera.camera_id: camera for camera in database.read_all_cameras()}
        found = {image.name: cameras[image.camera_id] for image in database.read_all_images()}
    assert len(cameras) == 3
    for name, size in sizes.items():
        assert Camera.from_pycolmap(found[name]) == Intrinsics(known=KNOWN).known_for(
            "a.png", *size
        )
        assert found[name].has_prior_focal_length


def test_an_image_of_another_camera_is_refused_by_name(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "square.png"), texture(1, 64, 64))
    options = BuildOptions(intrinsics=Intrinsics(known=KNOWN))
    with pytest.raises(InputError, match=r"square\.png: the image has 64 x 64 pixels, its camera"):
        build_map(images, tmp_path / "m.devmap", None, options)

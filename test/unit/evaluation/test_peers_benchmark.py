"""What benchmarks/peers.py does to images and maps, and how it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lifting.maps import Variant
from numpy.typing import NDArray
from peer_ways.hardships import HARDSHIPS
from peer_ways.hloc_way import SparseMap, build, localize
from peer_ways.plots import draw
from peer_ways.sparse import Described, Sift, described
from peer_ways.summary import table
from wall_map import BASE_FROM_CAMERA, map_from_base
from wall_map import CAMERA as WALL_CAMERA

from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import read_gray
from deviloc_ros.simulation import wall

CAMERA = Camera("PINHOLE", 640, 480, (400.0, 400.0, 320.0, 240.0))


def texture() -> NDArray[np.uint8]:
    """Return an image (480, 640) of blobs."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640]
    image = np.full((480, 640), 120.0)
    for _ in range(300):
        centre_x, centre_y, size = generator.uniform((0, 0, 2), (640, 480, 9))
        blob = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * size**2))
        image += generator.uniform(-90, 90) * blob
    return np.asarray(np.clip(image, 0, 255), dtype=np.uint8)


@pytest.fixture(scope="module")
def place() -> SparseMap:
    """Return a map of one image of a wall 5 m in front of it, at the origin."""
    each = described(Sift(), texture())
    rays = np.column_stack([(each.keypoints - [320, 240]) / 400, np.ones(len(each.keypoints))])
    points = 5.0 * rays.astype(np.float64)
    seen = np.arange(len(points))
    return SparseMap({"a": each}, {"a": seen}, points, np.zeros_like(points))


@pytest.mark.parametrize("name", HARDSHIPS)
def test_a_hardship_is_the_same_for_every_way(name: str) -> None:
    image = texture()
    before = image.copy()
    first, second = (HARDSHIPS[name](image, np.random.default_rng(4)) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape == image.shape
    assert np.array_equal(first, second)
    assert np.array_equal(image, before)
    assert np.array_equal(first, image) == (name == "clean")


def test_a_quarter_is_occluded() -> None:
    image = texture()
    hidden = HARDSHIPS["occluded"](image, np.random.default_rng(1))
    assert np.mean(hidden != image) == pytest.approx(0.25, abs=0.01)


def test_a_wall_is_localized(place: SparseMap) -> None:
    pose = localize(Sift(), place, texture(), CAMERA, ["a"])
    assert pose is not None
    assert np.abs(pose.translation).max() < 0.02
    assert localize(Sift(), place, np.full((480, 640), 90, np.uint8), CAMERA, ["a"]) is None


def test_a_map_is_built_of_images_with_poses(tmp_path: Path) -> None:
    poses = [map_from_base(x) @ BASE_FROM_CAMERA for x in (-0.6, 0.0, 0.6)]
    images, model = wall.write_map_images(poses, WALL_CAMERA, tmp_path)
    posed = sorted(posed_images(model), key=lambda item: item.name)
    names = [item.name for item in posed]
    pairs = [(names[0], names[1]), (names[1], names[2])]
    place = build(Sift(), images, posed, pairs, tmp_path / "work")
    assert len(place.points) > 100
    query = posed[1]
    found = localize(Sift(), place, read_gray(images / query.name), query.camera, names[::2])
    assert found is not None
    assert found.inverse().distance_to(query.camera_from_map.inverse())[0] < 0.02


def test_a_map_has_fewer_points_or_points_along_their_rays(place: SparseMap) -> None:
    few = place.changed(Variant(0.1), seed=3)
    left = few.seen["a"] >= 0
    assert left.sum() == round(0.1 * len(place.points))
    assert np.array_equal(few.seen["a"][left], place.seen["a"][left])
    noisy = place.changed(Variant(ray_noise=0.02), seed=3)
    scale = noisy.points / place.points
    assert np.allclose(scale, scale[:, 2:])
    assert np.std(scale[:, 2]) == pytest.approx(0.02, rel=0.3)


def test_a_map_is_kept(place: SparseMap, tmp_path: Path) -> None:
    place.save(tmp_path / "map.npz", 7.5)
    loaded, seconds = SparseMap.load(tmp_path / "map.npz")
    assert seconds == 7.5
    assert loaded.num_bytes == place.num_bytes
    first, second = place.images["a"], loaded.images["a"]
    assert isinstance(second, Described)
    assert (first.size, first.factor) == (
        second.size,
        second.factor,
    )
    assert np.array_equal(first.descriptors, second.descriptors)
    assert np.array_equal(place.points, loaded.points)


def test_queries_without_a_pose_count_as_far_off() -> None:
    record = {
        "scene": "wall", "variant": "full", "hardship": "dark", "way": "sift", "cpu_seconds": 2.0,
        "peak_bytes": 2**30, "map_bytes": 20480, "build_seconds": 30.0, "images": 10,
    }  # fmt: skip
    errors = [(0.01, 0.1), (0.02, 0.2), (0.03, 0.3), None]
    line = table([{**record, "error": error} for error in errors]).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:5] == ["wall", "full", "dark", "sift", "3 of 4"]
    assert cells[5].startswith("0.0250 (")
    assert cells[5].endswith("none)")
    assert cells[6:] == ["none", "0.2500 deg", "2.00", "1024 MiB", "2 KiB", "3.0"]


def test_results_are_drawn(tmp_path: Path) -> None:
    records = [
        {"scene": "castle", "variant": "full", "hardship": hardship, "way": way,
         "error": None if way == "sift" else (0.01, 0.1), "cpu_seconds": 1.0}
        for hardship in ("clean", "dark") for way in ("fast", "sift")
    ]  # fmt: skip
    draw(records, tmp_path / "plot.png")
    picture = read_gray(tmp_path / "plot.png")
    assert picture.std() > 10

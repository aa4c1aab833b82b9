"""Tiles of one map: what is read from them is what the whole map holds, with few in memory."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deviloc_ros.cli.main import main
from deviloc_ros.config import TileConfig
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.cut import cut_map
from deviloc_ros.mapping.tiling import write_index
from deviloc_ros.maps import map_file
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.open_map import load_tiled, open_map
from deviloc_ros.maps.reference import Reference
from deviloc_ros.maps.tile_store import TileStore
from deviloc_ros.maps.tiled_map import TiledMap

CAMERA = Camera("PINHOLE", 64, 48, (50.0, 50.0, 32.0, 24.0))
# A camera that looks along x, z up.
ALONG_X = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def a_map(begin: float, count: int, seed: int, scale: float = 2.0) -> Map:
    """Return a map of cameras every metre along x that look at points ahead of them."""
    rng = np.random.default_rng(seed)
    references = []
    for index in range(count):
        map_from_camera = Transform(ALONG_X, np.array([begin + index, 0.0, 1.5]))
        references.append(Reference(f"{begin + index:.0f}.png", CAMERA, map_from_camera.inverse()))
    points = rng.uniform((begin, -6, 0), (begin + count + 25, 6, 6), (200, 3))
    origin = np.round(np.array([begin, 0.0, 0.0]))
    observed, pixels = [], []
    for reference in references:
        seen = reference.camera.project(reference.camera_from_map.apply(points))
        inside = (seen >= 0).all(1) & (seen < (64, 48)).all(1)
        observed.append(np.flatnonzero(inside).astype(np.int32))
        pixels.append(seen[inside].astype(np.float32))
    features = rng.integers(20, 30, count)
    total = int(features.sum())
    return Map(
        references=references,
        feature_offsets=np.concatenate([[0], np.cumsum(features)]),
        keypoints=rng.uniform(0, 48, (total, 2)).astype(np.float32),
        descriptors=rng.integers(-127, 128, (total, 64)).astype(np.int8),
        levels=rng.integers(0, 2, total).astype(np.uint8),
        feature_points=rng.uniform(0, 20, (total, 3)).astype(np.float32),
        confidence=rng.uniform(0, 1, total).astype(np.float16),
        global_descriptors=np.zeros((count, 128), np.float16),
        codebook=np.zeros((2, 64), np.float32),
        point_array=(points - origin).astype(np.float32),
        observation_offsets=np.concatenate([[0], np.cumsum([len(o) for o in observed])]),
        observation_points=np.concatenate(observed),
        observation_pixels=np.concatenate(pixels),
        origin=origin,
        metric=True,
        gravity_aligned=True,
        calibration=Calibration(
            np.full((2, 2), float(seed)), scale, offset_pull=np.full((2, 2), -float(seed))
        ),
        meta={"features": {"max_size": 1024}},
    )


@pytest.fixture
def tiles(tmp_path: Path) -> list[Path]:
    """Three tiles in a row, the second next to the first, the third far away.

    The first one is older: it holds descriptors as floats.
    """
    paths = [tmp_path / f"{name}.devmap" for name in "abc"]
    first = a_map(0, 6, seed=1)
    older: Any = decoded(first.descriptors)
    replace(first, descriptors=older).save(paths[0])
    a_map(6, 4, seed=2, scale=5.0).save(paths[1])
    a_map(500, 5, seed=3).save(paths[2])
    return paths


@pytest.fixture
def index(tiles: list[Path], tmp_path: Path) -> Path:
    path = tmp_path / "city.devtiles"
    write_index(path, tiles)
    return path


def test_a_tiled_map_holds_what_its_tiles_hold(index: Path, tiles: list[Path]) -> None:
    whole = open_map(index, TileConfig(loaded=1))
    parts = [Map.load(path) for path in tiles]
    assert isinstance(whole, TiledMap)
    first = 0
    for part in parts:
        for local, reference in enumerate(part.references):
            number = first + local
            assert whole.references[number].name == reference.name
            ours, theirs = whole.features_of(number), part.features_of(local)
            np.testing.assert_array_equal(
                whole.descriptors[ours], decoded(part.descriptors[theirs])
            )
            for name in ("keypoints", "levels", "confidence"):
                np.testing.assert_array_equal(
                    getattr(whole, name)[ours], getattr(part, name)[theirs]
                )
            np.testing.assert_allclose(
                whole.feature_points[ours] + whole.origin,
                part.feature_points[theirs].astype(np.float64) + part.origin,
                atol=1e-9,
            )
            ours, theirs = whole.observations_of(number), part.observations_of(local)
            np.testing.assert_array_equal(
                whole.observation_pixels[ours], part.observation_pixels[theirs]
            )
            np.testing.assert_allclose(
                whole.point_array[whole.observation_points[ours]] + whole.origin,
                part.points3d[part.observation_points[theirs]],
                atol=1e-9,
            )
        first += len(part.references)
    assert len(whole.references) == first
    np.testing.assert_allclose(
        whole.points3d, np.concatenate([part.points3d for part in parts]), atol=1e-9
    )
    assert len(whole.store.loaded) == 1


def test_rows_of_several_tiles_come_at_once_in_the_order_asked_for(
    index: Path, tiles: list[Path]
) -> None:
    whole = open_map(index)
    joined = np.concatenate([Map.load(path).keypoints for path in tiles])
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(joined), 50)
    np.testing.assert_array_equal(whole.keypoints[rows], joined[rows])
    np.testing.assert_array_equal(whole.keypoints[5:400:7], joined[5:400:7])
    mask = rng.random(len(joined)) < 0.3
    np.testing.assert_array_equal(whole.keypoints[mask], joined[mask])
    assert whole.keypoints.shape == joined.shape
    assert whole.keypoints[np.zeros(0, np.int64)].shape == (0, 2)
    with pytest.raises(IndexError, match=r"keypoints: there are \d+ rows"):
        whole.keypoints[np.array([len(joined)])]


def test_positions_stay_exact_far_from_the_origin(tmp_path: Path) -> None:
    near, far = a_map(0, 3, seed=1), a_map(90_000, 3, seed=2)
    for name, part in (("near", near), ("far", far)):
        part.save(tmp_path / f"{name}.devmap")
    write_index(tmp_path / "i", [tmp_path / "near.devmap", tmp_path / "far.devmap"])
    whole = open_map(tmp_path / "i")
    found = whole.feature_points[len(near.keypoints) :] + whole.origin
    expected = far.feature_points.astype(np.float64) + far.origin
    assert np.abs(found - expected).max() < 1e-9


def test_references_belong_together_within_a_tile_and_across_its_border(
    index: Path, tiles: list[Path]
) -> None:
    whole = open_map(index)
    parts = [Map.load(path) for path in tiles]
    shared = whole.shared_points(np.array([5, 2, 6, 10, 9]))
    np.testing.assert_array_equal(shared, shared.T)
    np.testing.assert_array_equal(shared[:2, :2], parts[0].shared_points(np.array([5, 2])))
    assert shared[2, 4] == parts[1].shared_points(np.array([0, 3]))[0, 1]
    # The last camera of the first tile and the first one of the next look at the same things.
    assert shared[0, 2] >= 10
    assert shared[0, 3] == 0  # a tile 500 m away
    np.testing.assert_array_equal(whole.shared_points_with(5)[[5, 2, 6, 10, 9]], shared[0])


def test_cameras_back_to_back_at_a_border_share_nothing(tmp_path: Path) -> None:
    ahead, behind = a_map(0, 3, seed=1), a_map(3, 3, seed=2)
    turned = [
        Reference(
            r.name, r.camera,
            Transform(Rotation.from_euler("y", np.pi), np.zeros(3)) @ r.camera_from_map,
        )
        for r in behind.references
    ]  # fmt: skip
    ahead.save(tmp_path / "a")
    replace(behind, references=turned).save(tmp_path / "b")
    write_index(tmp_path / "i", [tmp_path / "a", tmp_path / "b"])
    assert load_tiled(tmp_path / "i", TileConfig()).border_pairs.shape == (0, 2)


def test_calibration_is_no_more_confident_than_the_worst_tile(index: Path) -> None:
    calibration = open_map(index).calibration
    assert calibration.covariance_scale == 5.0
    np.testing.assert_allclose(calibration.offset_bias, (6 * 1 + 4 * 2 + 5 * 3) / 15)
    np.testing.assert_allclose(calibration.offset_pull, -(6 * 1 + 4 * 2 + 5 * 3) / 15)


class Loader:
    """Counts what is loaded, and how much of it is alive at once."""

    def __init__(self) -> None:
        self.loads: list[int] = []
        self.threads: list[str] = []
        self.hold: threading.Event | None = None

    def __call__(self, number: int) -> Map:
        self.loads.append(number)
        self.threads.append(threading.current_thread().name)
        if self.hold is not None:
            assert self.hold.wait(20)
        if number == 13:
            raise InputError("tile 13 is damaged")
        return a_map(number, 1, seed=number)


def test_the_least_recently_used_tile_goes() -> None:
    load = Loader()
    store = TileStore(load, capacity=2)
    for number in (0, 1, 0, 2, 0, 1):
        assert store.get(number).references[0].name == f"{number}.png"
        assert len(store.loaded) <= 2
    assert load.loads == [0, 1, 2, 1]
    assert store.loaded == [0, 1]


def test_tiles_are_fetched_ahead_in_another_thread_but_not_more_than_fit() -> None:
    load = Loader()
    store = TileStore(load, capacity=3)
    store.get(7)
    store.prefetch([7, 8, 9, 10, 11])
    store.settle()
    assert load.loads == [7, 8, 9]
    assert load.threads[1:] == ["tiles", "tiles"]
    assert sorted(store.loaded) == [7, 8, 9]
    store.get(8)
    assert load.loads == [7, 8, 9]
    store.prefetch([8, 7])  # all there: nothing to do
    store.settle()
    assert load.loads == [7, 8, 9]


def test_a_tile_on_its_way_is_waited_for_and_not_loaded_twice() -> None:
    load = Loader()
    load.hold = threading.Event()
    store = TileStore(load, capacity=3)
    store.prefetch([4, 5])
    threading.Timer(0.2, load.hold.set).start()
    assert store.get(4).references[0].name == "4.png"
    store.settle()
    assert sorted(load.loads) == [4, 5]


def test_a_newer_wish_replaces_what_was_not_begun() -> None:
    load = Loader()
    load.hold = threading.Event()
    store = TileStore(load, capacity=3)
    store.prefetch([1, 2, 3])
    while not load.loads:
        pass
    store.prefetch([8, 9])
    load.hold.set()
    store.settle()
    assert load.loads == [1, 8, 9]


def test_a_tile_that_cannot_be_loaded_is_told_when_it_is_needed() -> None:
    store = TileStore(Loader(), capacity=3)
    store.prefetch([13, 1])
    store.settle()
    assert store.loaded == [1]
    with pytest.raises(InputError, match="tile 13 is damaged"):
        store.get(13)


def test_tiles_near_a_position_are_fetched_and_no_others(index: Path) -> None:
    whole = load_tiled(index, TileConfig(loaded=3, prefetch_distance=20.0))
    whole.approach(np.array([0.0, 0.0, 1.5]))
    whole.store.settle()
    assert sorted(whole.store.loaded) == [0, 1]
    whole.approach(np.array([495.0, 0.0, 1.5]))
    whole.store.settle()
    assert sorted(whole.store.loaded) == [0, 1, 2]
    whole = load_tiled(index, TileConfig(loaded=1, prefetch_distance=20.0))
    whole.approach(np.array([4.0, 0.0, 1.5]))
    whole.store.settle()
    assert whole.store.loaded == [0]


def test_a_drive_through_49_tiles_has_few_of_them_in_memory(tmp_path: Path) -> None:
    """As many as RobotCar Seasons has: each is there before the robot is, and gone behind it."""
    paths = [tmp_path / f"{number:03d}.devmap" for number in range(49)]
    for number, path in enumerate(paths):
        a_map(20.0 * number, 3, seed=number).save(path)
    write_index(tmp_path / "city.devtiles", paths)
    city = open_map(tmp_path / "city.devtiles", TileConfig(loaded=3, prefetch_distance=25))
    assert isinstance(city, TiledMap)
    assert (len(city.tiles), len(city.references)) == (49, 147)
    for number in [*range(49), *reversed(range(49))]:
        city.approach(np.array([20.0 * number + 1, 0.0, 1.5]))
        city.store.settle()
        around = {other for other in (number - 1, number, number + 1) if 0 <= other < 49}
        assert around <= set(city.store.loaded)
        assert len(city.store.loaded) <= 3
        rows = city.features_of(3 * number + 1)
        expected = Map.load(paths[number])
        np.testing.assert_array_equal(
            city.keypoints[rows], expected.keypoints[expected.features_of(1)]
        )
        assert around <= set(city.store.loaded)


def test_a_map_is_cut_by_place_and_loses_nothing() -> None:
    whole = a_map(0, 10, seed=4)
    parts = cut_map(whole, 3.0)
    assert [[r.name for r in part.references] for part in parts] == [
        ["0.png", "1.png", "2.png"], ["3.png", "4.png"],
        ["5.png", "6.png", "7.png"], ["8.png", "9.png"],
    ]  # fmt: skip
    first = 0
    for part in parts:
        for local in range(len(part.references)):
            ours, theirs = part.features_of(local), whole.features_of(first + local)
            np.testing.assert_array_equal(part.descriptors[ours], whole.descriptors[theirs])
            ours, theirs = part.observations_of(local), whole.observations_of(first + local)
            np.testing.assert_array_equal(
                part.point_array[part.observation_points[ours]],
                whole.point_array[whole.observation_points[theirs]],
            )
        first += len(part.references)


def test_the_command_cuts_and_makes_an_index_and_info_shows_the_tiles(
    tmp_path: Path, capsys
) -> None:
    a_map(0, 10, seed=4).save(tmp_path / "big.devmap")
    index = tmp_path / "city.devtiles"
    command = ["map", "tile", str(tmp_path / "big.devmap"), "--cut", "5", "--output", str(index)]
    assert main(command) == 0
    assert "2 tiles, 10 references" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "city.tiles").iterdir()) == [
        "001.devmap", "002.devmap",
    ]  # fmt: skip
    assert main(["map", "info", str(index), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["references"] == 10
    assert [tile["references"] for tile in info["tiles"]] == [5, 5]
    assert info["points"] == sum(tile["points"] for tile in info["tiles"])
    assert main(["map", "info", str(index)]) == 0
    table = capsys.readouterr().out
    assert "tiles" in table
    assert "city.tiles/002.devmap" in table
    assert main(["map", "info", str(index), "--picture", str(tmp_path / "above.png")]) == 0
    assert (tmp_path / "above.png").stat().st_size > 5000


def test_an_index_and_its_tiles_can_be_moved_together(index: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in [index, *tmp_path.glob("*.devmap")]:
        path.rename(moved / path.name)
    assert len(open_map(moved / "city.devtiles").points3d) == 600


def test_an_index_may_be_a_link(tiles: list[Path], tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "latest").symlink_to("disk/city.devtiles")
    write_index(tmp_path / "latest", tiles)
    assert (tmp_path / "latest").is_symlink()
    for path in (tmp_path / "latest", tmp_path / "disk/city.devtiles"):
        assert len(load_tiled(path, TileConfig()).tiles) == len(tiles)


def test_a_tile_that_is_gone_or_another_is_told_at_once(index: Path, tmp_path: Path) -> None:
    tile = tmp_path / "b.devmap"
    content = tile.read_bytes()
    a_map(6, 4, seed=9).save(tile)
    with pytest.raises(InputError, match=r"its tile .*b.devmap was changed since"):
        open_map(index)
    tile.write_bytes(b"no")
    with pytest.raises(InputError, match=r"b.devmap was changed since"):
        open_map(index)
    tile.unlink()
    with pytest.raises(InputError, match=r"its tile .*b.devmap is missing"):
        open_map(index)
    tile.write_bytes(content[:-10] + b"0123456789")
    whole = open_map(index)
    with pytest.raises(InputError, match=r"b.devmap: the map is damaged"):
        whole.store.get(1)


def test_a_damaged_index_is_refused(index: Path, tiles: list[Path], tmp_path: Path) -> None:
    content = index.read_bytes()
    index.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"city\.devtiles: is not a map of deviloc|damaged"):
        open_map(index)
    with pytest.raises(InputError, match=r"a.devmap: is not an index of tiles"):
        load_tiled(tiles[0], TileConfig())
    write_index(index, tiles)
    with pytest.raises(InputError, match=r"city.devtiles: is made of tiles"):
        Map.load(index)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feature_offsets", np.iinfo(np.int64).min),  # differences of it overflow
        ("feature_offsets", np.iinfo(np.int64).max),
        ("point_offsets", 2**40),
        ("observation_offsets", 7),
        ("reference_offsets", 10**6),
        ("border_pairs", 10**6),
    ],
)
def test_an_index_that_counts_what_no_tile_holds_is_refused(
    index: Path, name: str, value: int
) -> None:
    content = map_file.read(index, kind=map_file.TILES)
    array = content.arrays[name].copy()
    array.reshape(-1)[-1] = value
    wrong = index.with_name("wrong.devtiles")
    arrays = {**content.arrays, name: array}
    map_file.write(wrong, arrays, content.description, map_file.TILES)
    with pytest.raises(InputError, match="the index is damaged"):
        load_tiled(wrong, TileConfig())


def test_tiles_that_do_not_go_together_are_refused(tiles: list[Path], tmp_path: Path) -> None:
    odd = a_map(20, 3, seed=5)
    replace(odd, metric=False).save(tmp_path / "odd.devmap")
    index = tmp_path / "index"
    with pytest.raises(InputError, match=r"odd.devmap: metric: False, but True in .*a.devmap"):
        write_index(index, [tiles[0], tmp_path / "odd.devmap"])
    with pytest.raises(InputError, match="a tile is given twice"):
        write_index(index, [tiles[0], tiles[0]])
    assert main(["map", "tile", str(tmp_path / "nowhere"), "--output", str(index)]) == 2
    assert not index.exists()


def test_commands_that_change_a_map_refuse_an_index(index: Path, capsys) -> None:
    assert main(["map", "align", str(index), "--scale", "2"]) == 2
    assert "made of tiles" in capsys.readouterr().err

"""RobotCar Seasons becomes a map of tiles, and is localized in across their border."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vtkmodules", reason="the simulated street is rendered with VTK")

import robotcar_folder as made
from robotcar_folder import SECOND, START
from robotcar_scene import Scene

from deviloc_ros.cli.main import main
from deviloc_ros.config import LocalizerConfig, TileConfig, load
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.localization.types import (
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
)
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.open_map import open_map
from deviloc_ros.maps.tiled_map import TiledMap

SIDES = ("left", "rear")
STEP = 3 * SECOND // 4  # 3 m
PLACES = [[START + index * STEP for index in place] for place in (range(3), range(3, 6))]
BORDER = START + 5 * STEP // 2  # between the last camera of the first place and the next one
QUERIES = [START + STEP // 2, BORDER, START + 9 * STEP // 2]
SETTINGS = ["features.max_size=320", "features.num_keypoints=1024"]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    result = Scene()
    yield result
    result.close()


@pytest.fixture(scope="module")
def folder(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("robotcar") / "RobotCar-Seasons"
    made.write_seasons(path, PLACES, {"dusk": QUERIES}, scene.colours, scene.depth, SIDES)
    return path


def command(folder: Path, index: Path, *more: str) -> list[str]:
    options = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["map", "build", "--dataset", "robotcar-seasons", "--images", str(folder),
            "--output", str(index), *options, *more]  # fmt: skip


@pytest.fixture(scope="module")
def index(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "oxford.devtiles"
    assert main(command(folder, path, "--up", "minus-z")) == 0
    return path


def localizer(index: Path, loaded: int) -> Localizer:
    settings = [*SETTINGS, f"tiles.loaded={loaded}", "tiles.prefetch_distance=20"]
    return Localizer.load(index, load(LocalizerConfig, None, settings))


def query(folder: Path, side: str, stamp: int) -> tuple[np.ndarray, Camera]:
    image = read_gray(folder / "images" / "dusk" / side / f"{stamp // 1000}.jpg")
    return image, made.LENSES[made.SIDES[side]].camera


def truth(side: str, stamp: int) -> Transform:
    return made.map_from_base(stamp) @ made.base_from_optical(made.SIDES[side])


def tiles_of(estimate: PoseEstimate, tiled: TiledMap) -> set[int]:
    names = [reference.name for reference in tiled.references]
    chosen = np.array([names.index(name) for name in estimate.references])
    return set(tiled.tile_of(chosen).tolist())


def test_submaps_become_tiles_in_a_metric_frame_with_z_up(index: Path) -> None:
    tiled = localizer(index, loaded=2).map
    assert isinstance(tiled, TiledMap)
    assert (len(tiled.tiles), len(tiled.references)) == (2, 12)
    assert tiled.metric
    assert tiled.gravity_aligned
    assert all(reference.name.endswith(".jpg") for reference in tiled.references)
    for reference in tiled.references:
        _, side, file = reference.name.split("/")
        expected = truth(side, int(Path(file).stem) * 1000)
        off = reference.camera_from_map.inverse().distance_to(expected)
        assert off < (1e-5, 1e-4)
    # The submaps' own points are used, not others.
    assert Map.load(tiled.tiles[0].path).meta["submap"] == "001"
    assert len(tiled.border_pairs) > 0


@pytest.mark.parametrize("loaded", [1, 2])
def test_queries_are_localized_also_across_the_border(
    folder: Path, index: Path, loaded: int
) -> None:
    at = localizer(index, loaded)
    tiled = at.map
    assert isinstance(tiled, TiledMap)
    across = set()
    for stamp in QUERIES:
        for side in SIDES:
            estimate = at.localize(*query(folder, side, stamp))
            assert len(tiled.store.loaded) <= loaded
            assert isinstance(estimate, PoseEstimate), f"{side} at {stamp}: {estimate}"
            metres, degrees = estimate.map_from_camera.distance_to(truth(side, stamp))
            assert metres < 0.15
            assert degrees < 0.5
            if len(tiles_of(estimate, tiled)) == 2:
                across.add(stamp)
    assert BORDER in across


def test_points_of_both_tiles_make_one_pose(folder: Path, index: Path) -> None:
    at = localizer(index, loaded=2)
    tiled = at.map
    assert isinstance(tiled, TiledMap)
    estimate = at.localize(*query(folder, "rear", BORDER))
    assert isinstance(estimate, PoseEstimate)
    begins = tiled.reference_offsets[1]
    used = [np.count_nonzero((estimate.matches.reference < begins) == first) for first in (0, 1)]
    assert min(used) > 30
    # Were the tiles apart, only one's matches would have been merged and solved for.
    cells = len(estimate.correspondences)
    assert cells > 0.5 * max(used)
    assert np.isfinite(estimate.covariance).all()


def test_with_a_prior_only_tiles_near_it_are_loaded(folder: Path, index: Path) -> None:
    settings = [*SETTINGS, "retrieval.prior_reach=1", "tiles.loaded=1"]
    at = Localizer(open_map(index, TileConfig(loaded=1)), load(LocalizerConfig, None, settings))
    tiled = at.map
    assert isinstance(tiled, TiledMap)
    assert not tiled.store.loaded
    stamp = QUERIES[-1]
    prior = PosePrior(truth("rear", stamp), 0.5, 0.1)
    estimate = at.localize(*query(folder, "rear", stamp), prior)
    assert isinstance(estimate, PoseEstimate)
    assert tiles_of(estimate, tiled) == {1}
    assert tiled.store.loaded == [1]


def test_the_neighbour_is_fetched_ahead(folder: Path, index: Path) -> None:
    at = localizer(index, loaded=2)
    tiled = at.map
    assert isinstance(tiled, TiledMap)
    at.localize(*query(folder, "rear", START + STEP // 2))
    tiled.store.settle()
    assert sorted(tiled.store.loaded) == [0, 1]


def test_where_a_tile_is_damaged_images_are_refused_and_elsewhere_not(
    folder: Path, index: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copy(index, tmp_path / "oxford.devtiles"))
    tiles = Path(shutil.copytree(index.with_suffix(".tiles"), tmp_path / "oxford.tiles"))
    damaged, missing = tiles / "002.devmap", tiles / "001.devmap"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-10] + b"0123456789")
    at = localizer(copied, loaded=2)
    first, last = (query(folder, "rear", stamp) for stamp in (QUERIES[0], QUERIES[-1]))
    near = PosePrior(truth("rear", QUERIES[0]), 0.1, 0.05, num_references=2)
    assert isinstance(at.localize(*first, near), PoseEstimate)
    refused = at.localize(*last)
    assert isinstance(refused, LocalizationFailure)
    assert refused.reason is FailureReason.DAMAGED_MAP
    assert "002.devmap: the map is damaged" in refused.details
    of_rig = at.localize_rig([last[0]], [last[1]], [Transform.identity()])
    assert isinstance(of_rig, LocalizationFailure)
    assert (of_rig.reason, of_rig.details) == (refused.reason, refused.details)
    # Another tile in its place would give wrong poses; a mended one is taken at once.
    damaged.write_bytes(missing.read_bytes())
    assert "002.devmap was changed since" in str(at.localize(*last))
    damaged.write_bytes(content)
    assert isinstance(at.localize(*last), PoseEstimate)


def test_the_rig_is_localized_in_tiles(folder: Path, index: Path) -> None:
    at = localizer(index, loaded=2)
    seen = [query(folder, side, BORDER) for side in SIDES]
    mounted = [made.base_from_optical(model) for model in map(made.SIDES.get, SIDES)]
    images, cameras = zip(*seen, strict=True)
    estimate = at.localize_rig(images, cameras, mounted)
    assert isinstance(estimate, RigEstimate), str(estimate)
    metres, degrees = estimate.map_from_base.distance_to(made.map_from_base(BORDER))
    assert metres < 0.1
    assert degrees < 0.3


def test_a_map_that_was_cut_gives_the_poses_of_the_whole(
    folder: Path, index: Path, tmp_path: Path
) -> None:
    whole = index.with_suffix(".tiles") / "001.devmap"
    pieces = tmp_path / "pieces.devtiles"
    assert main(["map", "tile", str(whole), "--cut", "4", "--output", str(pieces)]) == 0
    for side in SIDES:
        image, camera = query(folder, side, QUERIES[0])
        found = [localizer(path, 1).localize(image, camera) for path in (whole, pieces)]
        assert isinstance(found[0], PoseEstimate), str(found[0])
        assert isinstance(found[1], PoseEstimate), str(found[1])
        metres, degrees = found[0].map_from_camera.distance_to(found[1].map_from_camera)
        assert metres < 0.03
        assert degrees < 0.1


def test_the_benchmark_is_run_by_commands(
    folder: Path, index: Path, tmp_path: Path, capsys
) -> None:
    output = tmp_path / "dusk"
    assert main(["robotcar", "queries", str(folder), "--output", str(output), "--only", "train",
                 "--up", "minus-z"]) == 0  # fmt: skip
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    assert main(["localize", str(index), "--images", str(folder / "images"), "--cameras",
                 str(output / "cameras.txt"), "--output", str(output / "poses.txt"),
                 *settings]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["evaluate", "--poses", str(output / "poses.txt"), "--model",
                 str(output / "truth"), "--json"]) == 0  # fmt: skip
    errors = json.loads(capsys.readouterr().out)
    assert (errors["num_images"], errors["num_localized"]) == (2, 2)
    assert errors["median_position_error_m"] < 0.15


def test_a_build_goes_on_with_the_tiles_that_are_missing(folder: Path, index: Path, capsys) -> None:
    tiles = [index.with_suffix(".tiles") / f"00{number}.devmap" for number in (1, 2)]
    times = [tile.stat().st_mtime_ns for tile in tiles]
    before = open_map(index)
    tiles[1].unlink()
    assert main(command(folder, index, "--up", "minus-z")) == 0
    assert "2 tiles, 1 of them kept from before; 12 of 12 images" in capsys.readouterr().out
    assert tiles[0].stat().st_mtime_ns == times[0]
    assert tiles[1].stat().st_mtime_ns != times[1]
    after = open_map(index)
    np.testing.assert_array_equal(after.global_descriptors, before.global_descriptors)
    assert [r.name for r in after.references] == [r.name for r in before.references]


def test_only_chosen_places_in_the_data_sets_own_frame(
    folder: Path, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "one.devtiles"
    assert main(command(folder, path, "--places", "2")) == 0
    tiled = localizer(path, loaded=1).map
    assert len(tiled.references) == 6
    assert not tiled.gravity_aligned
    first = tiled.references[0]
    _, side, file = first.name.split("/")
    world = made.WORLD_FROM_MAP @ truth(side, int(Path(file).stem) * 1000)
    assert first.camera_from_map.inverse().distance_to(world) < (1e-5, 1e-4)
    capsys.readouterr()
    for options, told in [
        (["--places", "3"], "there is no submap 3; there are 1 to 2"),
        (["--places", "2-"], "--places 2-: expected numbers and ranges"),
        (["--places", "2-1"], "a range goes up"),
        (["--model", "m"], "--model does not go with --dataset"),
    ]:
        assert main(command(folder, tmp_path / "none", *options)) == 2
        assert told in capsys.readouterr().err
    plain = ["map", "build", "--images", str(folder), "--output", str(tmp_path / "m")]
    assert main([*plain, "--places", "1"]) == 2
    assert "give --dataset" in capsys.readouterr().err

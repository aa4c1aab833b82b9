"""Loaders of benchmarks, on small folders with their layout: what is exact, and what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import benchmark_folders as folders
import numpy as np
import pytest

from deviloc_ros.benchmark.names import NAMES
from deviloc_ros.benchmark.open import LOADERS, open_benchmark
from deviloc_ros.benchmark.types import Benchmark
from deviloc_ros.errors import InputError

Writer = Callable[[Path], folders.Truth]
WRITERS: dict[str, Writer] = {
    "aachen": folders.write_aachen,
    "aachen-v1.1": lambda root: folders.write_aachen(root, "v1.1"),
    "robotcar": folders.write_robotcar,
    "robotcar-v2": folders.write_robotcar,
    "robotcar-public": folders.write_robotcar,
    "cmu": folders.write_cmu,
    "cmu-public": folders.write_cmu,
    "7scenes": folders.write_seven_scenes,
    "cambridge": folders.write_cambridge,
    "kapture": folders.write_kapture,
    "colmap": folders.write_colmap_folder,
}


def test_every_name_has_a_loader_and_a_folder_to_try_it() -> None:
    assert tuple(LOADERS) == NAMES
    assert tuple(WRITERS) == NAMES


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, folders.Truth]]:
    made = {}
    for name, write in WRITERS.items():
        root = tmp_path_factory.mktemp(name) / "set"
        made[name] = root, write(root)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_queries_have_their_camera_image_and_truth(
    name: str, written: dict[str, tuple[Path, folders.Truth]]
) -> None:
    root, truth = written[name]
    benchmark = open_benchmark(name, root)
    for place in benchmark.places:
        for query in place.queries:
            assert (place.query_images / query.name).is_file()
            assert (query.camera.width, query.camera.height) == (320, 240)
            assert query.camera.focal_length == folders.FOCAL
            assert query.result_name in truth
        for query_name, pose in place.truth.items():
            (own,) = [query for query in place.queries if query.name == query_name]
            metres, degrees = pose.distance_to(truth[own.result_name])
            assert metres < 1e-9
            assert degrees < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_model_is_exact_and_holds_no_query(
    name: str, written: dict[str, tuple[Path, folders.Truth]]
) -> None:
    root, _ = written[name]
    for place in open_benchmark(name, root).places:
        model = place.model()
        assert len(model.images) == len(folders.REFERENCES)
        names = {image.posed.name for image in model.images}
        assert not names & {query.name for query in place.queries}
        expected = {
            tuple(np.round(folders.camera_from_map(x).inverse().translation, 6))
            for x in folders.REFERENCES
        }
        centres = [image.posed.camera_from_map.inverse().translation for image in model.images]
        assert {tuple(np.round(centre, 6)) for centre in centres} == expected
        for image in model.images:
            assert (place.reference_images / image.posed.name).is_file()
            posed = image.posed
            assert posed.camera.width == folders.WIDTH
            seen = np.array([model.points[key] for key in image.points]).reshape(-1, 3)
            projected = posed.camera.project(posed.camera_from_map.apply(seen))
            np.testing.assert_allclose(projected, image.pixels, atol=1e-3)
            assert len(seen) > 50 or name == "kapture"


def test_points_that_only_test_images_see_are_not_in_the_map(
    written: dict[str, tuple[Path, folders.Truth]],
) -> None:
    place = open_benchmark("7scenes", written["7scenes"][0]).places[0]
    model = place.model()
    seen = {key for image in model.images for key in image.points.tolist()}
    assert len(seen) < len(model.points)
    assert len(model.colmap().points3D) == len(seen)


def groups(benchmark: Benchmark) -> set[tuple[str, ...]]:
    return {query.groups for place in benchmark.places for query in place.queries}


def test_conditions_are_told_apart(written: dict[str, tuple[Path, folders.Truth]]) -> None:
    def of(name: str) -> set[tuple[str, ...]]:
        return groups(open_benchmark(name, written[name][0]))

    assert of("aachen") == {("day",), ("night",)}
    assert of("robotcar") == {("day-all", "dawn"), ("night-all", "night")}
    assert of("robotcar-v2") == {("night-all", "night")}
    assert of("robotcar-public") == {("day-all", "dawn")}
    assert of("cmu") == {("urban", "slice2"), ("suburban", "slice13")}


@pytest.mark.parametrize(
    ("name", "lost", "said"),
    [
        ("aachen", "images", "no images/images_upright/ or images_upright/"),
        ("aachen", "queries/night_time_queries_with_intrinsics.txt", "no queries/night_time_"),
        ("aachen", "3D-models/aachen_cvpr2018_db.nvm", "or 3D-models/aachen_cvpr2018_db.nvm"),
        ("aachen", "3D-models/database_intrinsics.txt", "no 3D-models/database_intrinsics.txt"),
        ("aachen-v1.1", "3D-models", "no 3D-models/aachen_v_1_1/images.bin or"),
        ("robotcar", "intrinsics/rear_intrinsics.txt", "no intrinsics/rear_intrinsics.txt"),
        ("robotcar", "3D-models/individual/queries_per_location", "no 3D-models/individual/quer"),
        ("robotcar-v2", "robotcar_v2_test.txt", "no robotcar_v2_test.txt"),
        ("robotcar-public", "robotcar_v2_train.txt", "no robotcar_v2_train.txt"),
        ("cmu", "intrinsics.txt", "no intrinsics.txt"),
        ("cmu", "slice13/sparse", "no slice13/sparse/images.bin or slice13/sparse/images.txt"),
        ("cmu", "slice2/query", "no slice2/query/"),
        ("7scenes", "chess", "no chess/"),
        ("7scenes", "7scenes_sfm_triangulated/chess/triangulated/list_test.txt", "list_test.txt"),
        ("cambridge", "ShopFacade", "no ShopFacade/"),
        (
            "cambridge",
            "CambridgeLandmarks_Colmap_Retriangulated_1024px/ShopFacade/empty_all",
            "ShopFacade/empty_all/images.bin or",
        ),
        ("kapture", "mapping", "no mapping/ or training/"),
        ("kapture", "query/sensors/records_camera.txt", "no sensors/records_camera.txt"),
        ("colmap", "sparse", "no model/images.bin or model/images.txt or sparse/0/images.bin"),
        ("colmap", "queries.txt", "no queries.txt"),
    ],
)
def test_one_line_says_what_is_missing(tmp_path: Path, name: str, lost: str, said: str) -> None:
    root = tmp_path / "set"
    WRITERS[name](root)
    path = root / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError) as error:
        open_benchmark(name, root)
    assert said in str(error.value)
    assert "docs/benchmarks.md" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "file", "content", "said"),
    [
        ("aachen", "queries/day_time_queries_with_intrinsics.txt", "a.jpg PINHOLE 3", ":1: expec"),
        ("cmu", "slice2/test-images-slice2.txt", "img_1_c7_1us.jpg", "the camera of img_1_c7_1us"),
        ("cmu-public", "slice2/camera-poses/a.txt", "img_1_c0_1us.jpg 1 0 0", "a.txt:1: expected"),
        ("robotcar-v2", "robotcar_v2_test.txt", "night/front/1.jpg", "names no query"),
        ("robotcar-public", "robotcar_v2_train.txt", "a.jpg 1 2 3", "_train.txt:1: expected"),
        (
            "7scenes",
            "7scenes_sfm_triangulated/chess/triangulated/list_test.txt",
            "seq-09/no.png",
            "seq-09/no.png has no pose in the model",
        ),
        ("kapture", "query/sensors/sensors.txt", "a, , camera, PINHOLE, 3, 4", "kapture format"),
        ("kapture", "query/sensors/records_camera.txt", "0, cam7, a.jpg", "no camera 'cam7'"),
        ("kapture", "query/sensors/trajectories.txt", "0, camera0, 1, 0", ":1: expected 'timest"),
        ("colmap", "queries.txt", "other.jpg", "other.jpg is not in the model; give its camera"),
    ],
)
def test_one_line_says_what_is_wrong(
    tmp_path: Path, name: str, file: str, content: str, said: str
) -> None:
    root = tmp_path / "set"
    WRITERS[name](root)
    (root / file).write_text(content + "\n")
    with pytest.raises(InputError) as error:
        open_benchmark(name, root)
    assert said in str(error.value)


def test_a_missing_query_image_is_named_and_passed_over(tmp_path: Path) -> None:
    folders.write_robotcar(tmp_path)
    (tmp_path / "images/night/rear/1418237150265011.jpg").unlink()
    benchmark = open_benchmark("robotcar", tmp_path)
    assert len(benchmark.places[0].queries) == 3
    assert any("1 of 3 query images are not in" in note for note in benchmark.notes)


def test_images_are_localized_without_a_rig_where_it_is_not_known(tmp_path: Path) -> None:
    folders.write_robotcar(tmp_path)
    assert open_benchmark("robotcar", tmp_path).places[0].rigs
    (tmp_path / "extrinsics" / "left_extrinsics.txt").write_text("1,0,0\n")
    benchmark = open_benchmark("robotcar", tmp_path)
    assert not benchmark.places[0].rigs
    assert any("there is no rig" in note and "left_extrinsics" in note for note in benchmark.notes)


def test_an_unknown_place_is_told(tmp_path: Path) -> None:
    folders.write_cmu(tmp_path)
    assert [p.name for p in open_benchmark("cmu", tmp_path, ["slice13"]).places] == ["slice13"]
    with pytest.raises(InputError, match="no place 'slice3' here; there are slice2, slice13"):
        open_benchmark("cmu", tmp_path, ["slice3"])


def test_a_cut_off_nvm_file_is_told_with_its_line(tmp_path: Path) -> None:
    folders.write_aachen(tmp_path)
    path = tmp_path / "3D-models/aachen_cvpr2018_db.nvm"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:20], lines[20][:30]]))
    with pytest.raises(InputError, match=r"nvm:21: expected 'x y z r g b n"):
        open_benchmark("aachen", tmp_path).places[0].model()

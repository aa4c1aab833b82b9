"""`deviloc benchmark` from beginning to end, on small folders with exact truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import benchmark_folders as folders
import cv2
import numpy as np
import pytest

from deviloc_ros.benchmark.query_log import QueryLog
from deviloc_ros.cli.main import main
from deviloc_ros.datasets.poses import read_poses

Run = Callable[..., tuple[int, str, str]]
Aachen = tuple[Path, Path, folders.Truth]
NIGHT = "query/night/nexus5x/IMG_1.jpg"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["benchmark", *folders.SETTINGS, *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def close(path: Path, truth: folders.Truth, names: Sequence[str]) -> None:
    """Check that a result file has these images, near the truth."""
    poses = read_poses(path)
    assert list(poses) == list(names)
    for name, pose in poses.items():
        metres, degrees = pose.inverse().distance_to(truth[name].inverse())
        assert metres < 0.1
        assert degrees < 1


@pytest.fixture(scope="module")
def aachen(tmp_path_factory: pytest.TempPathFactory) -> Aachen:
    """Return a folder of Aachen Day-Night, and one for results whose map tests share."""
    folder = tmp_path_factory.mktemp("aachen")
    return folder / "set", folder / "out", folders.write_aachen(folder / "set")


def records(out: Path) -> dict[str, Any]:
    content = json.loads((out / "queries.json").read_text())
    return {record["name"]: record for record in content["images"]}


def test_aachen_from_its_nvm_file_to_the_file_of_the_server(aachen: Aachen, run: Run) -> None:
    root, out, truth = aachen
    code, text, _ = run("aachen", root, "--output", out, "--pictures", 1)
    assert code == 0
    close(out / "Aachen_eval_deviloc_ros_xfeat.txt", truth, list(truth))
    assert "true poses are hidden: visuallocalization.net evaluates" in text
    page = (out / "report.html").read_text()
    assert "DeViLoc (published)" in page
    assert "87.8 / 93.9 / 100" in page
    assert page.count("<figure>") == 1
    assert "data:image/jpeg;base64," in page


def test_what_is_done_is_kept_and_only_a_cut_off_line_is_done_again(
    aachen: Aachen, run: Run
) -> None:
    root, out, _ = aachen
    assert run("aachen", root, "--output", out)[0] == 0
    log, built = out / "queries" / "aachen-aachen.jsonl", out / "maps" / "aachen.devmap"
    whole, time = log.read_text(), built.stat().st_mtime_ns
    assert run("aachen", root, "--output", out)[0] == 0
    assert log.read_text() == whole
    head, first, last = whole.splitlines(keepends=True)
    log.write_text(head + first + last[:30])
    assert run("aachen", root, "--output", out)[0] == 0
    again = log.read_text().splitlines(keepends=True)
    assert again[:2] == [head, first]
    assert json.loads(again[2])["camera_from_map"] == json.loads(last)["camera_from_map"]
    assert built.stat().st_mtime_ns == time


def test_pairs_replace_retrieval_in_their_order(aachen: Aachen, run: Run, tmp_path: Path) -> None:
    root, out, _ = aachen
    pairs = tmp_path / "pairs.txt"
    pairs.write_text(f"{NIGHT} db/4.jpg\n{NIGHT} db/77.jpg\n{NIGHT} db/2.jpg\n")
    code, _, err = run("aachen", root, "--output", out, "--pairs", pairs)
    assert code == 0
    assert "1 queries have no reference there (query/day/" in err
    found = records(out)
    assert found.pop(NIGHT)["references"] == ["db/4.jpg", "db/2.jpg"]
    assert [record["reason"] for record in found.values()] == ["NO_REFERENCES"]
    pairs.write_text("day/1.jpg db/4.jpg\n")
    code, _, err = run("aachen", root, "--output", out, "--pairs", pairs)
    assert code == 2
    assert "pairs none of the 2 queries of aachen" in err


def test_descriptors_of_hloc_replace_retrieval_and_matches_are_written(
    aachen: Aachen, run: Run, tmp_path: Path
) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is optional (docs/benchmarks.md)")
    root, out, truth = aachen
    near = {"db/3.jpg": 0.5, "db/4.jpg": 0.9, NIGHT: 1.0}
    path = tmp_path / "global.h5"
    with h5py.File(path, "w") as file:
        for name, value in near.items():
            file[f"{name}/global_descriptor"] = np.float32([value, 0])
    code, _, _ = run("aachen", root, "--output", out, "--global-features", path, "--matches")
    assert code == 0
    night = records(out)[NIGHT]
    assert night["references"] == ["db/4.jpg", "db/3.jpg"]
    with h5py.File(out / "matches" / "aachen-aachen.h5") as file:
        matches = file[NIGHT][()]
    assert matches.shape == (night["num_matches"], 6)
    points = truth[Path(NIGHT).name].apply(matches[:, 2:5])
    errors = np.linalg.norm(folders.RADIAL.project(points) - matches[:, :2], axis=1)
    assert np.median(errors) < 1


def test_robotcar_is_scored_by_its_public_poses(tmp_path: Path, run: Run) -> None:
    truth = folders.write_robotcar(tmp_path / "set")
    out = tmp_path / "out"
    code, text, err = run("robotcar", tmp_path / "set", "--output", out)
    assert code == 0
    close(out / "RobotCar_eval_deviloc_ros_xfeat.txt", truth, list(truth))
    assert "every image is localized by itself" in err
    # The places are the same: the map is not built again.
    built = (out / "maps" / "001.devmap").stat().st_mtime_ns
    code, text, _ = run("robotcar-public", tmp_path / "set", "--output", out, "--method", "mine")
    assert code == 0
    assert (out / "maps" / "001.devmap").stat().st_mtime_ns == built
    close(out / "RobotCar_public_mine.txt", truth, ["rear/1418721355450545.jpg"])
    assert "100.0 / 100.0 / 100.0 %" in text
    scores = json.loads((out / "queries.json").read_text())["scores"]
    assert [score["group"] for score in scores] == ["all"]
    assert scores[0]["recall"][0] == {"position_m": 0.25, "rotation_deg": 2, "recall": 1.0}
    # The left camera alone sees the wall now. It belongs to no list of version 2.
    picture = tmp_path / "set" / "images" / "dawn" / "rear" / "1418721355450545.jpg"
    cv2.imwrite(str(picture), np.zeros((240, 320), np.uint8))
    code, text, err = run("robotcar-public", tmp_path / "set", "--output", out, "--rig")
    assert code == 0
    assert len(records(out)["dawn/rear/1418721355450545.jpg"]["covariance"]) == 6
    assert "localized together, as a rig" in err
    assert (out / "maps" / "001.devmap").stat().st_mtime_ns == built
    close(out / "RobotCar_public_deviloc_ros_xfeat_rig.txt", truth, ["rear/1418721355450545.jpg"])
    code, _, err = run("robotcar", tmp_path / "set", "--output", out, "--rig", "--pairs", "p.txt")
    assert code == 2
    assert "leave out --pairs" in err


def test_cmu_has_a_map_for_each_slice_and_one_result_file(tmp_path: Path, run: Run) -> None:
    truth = folders.write_cmu(tmp_path / "set")
    out = tmp_path / "out"
    code, text, _ = run("cmu", tmp_path / "set", "--output", out)
    assert code == 0
    names = [name for name in truth if "0006" in name]
    close(out / "CMU_eval_deviloc_ros_xfeat.txt", truth, names)
    assert {path.name for path in (out / "maps").glob("*")} == {"slice2.devmap", "slice13.devmap"}
    assert [line.split()[0] for line in text.splitlines()[1:6]] == [
        "all", "urban", "slice2", "suburban", "slice13"
    ]  # fmt: skip
    code, _, err = run("cmu", tmp_path / "set", "--output", out, "--subset", 1)
    assert code == 0
    assert "this is a subset of 1 of 2 queries, not for a server" in err
    assert len(read_poses(out / "CMU_eval_deviloc_ros_xfeat_subset1.txt")) == 1


@pytest.mark.parametrize(
    ("name", "write", "file"),
    [
        ("7scenes", folders.write_seven_scenes, "chess_poses.txt"),
        ("cambridge", folders.write_cambridge, "ShopFacade_poses.txt"),
        ("kapture", folders.write_kapture, "set_poses.txt"),
        ("colmap", folders.write_colmap_folder, "set_poses.txt"),
    ],
)
def test_sets_with_public_poses_are_scored(
    tmp_path: Path, run: Run, name: str, write: Callable[[Path], folders.Truth], file: str
) -> None:
    truth = write(tmp_path / "set")
    out = tmp_path / "out"
    code, _, _ = run(name, tmp_path / "set", "--output", out)
    assert code == 0
    close(out / file, truth, list(truth))
    scores = json.loads((out / "queries.json").read_text())["scores"]
    assert scores[0]["num_with_truth"] == 2
    assert scores[0]["recall"][-1]["recall"] == 1.0
    assert "there is no published table" in (out / "report.html").read_text().lower()


def test_a_log_of_other_inputs_is_begun_anew(tmp_path: Path) -> None:
    with QueryLog(tmp_path / "log", "a") as log:
        log.add({"name": "x", "value": 0.1})
    assert QueryLog(tmp_path / "log", "a").records == {"x": {"name": "x", "value": 0.1}}
    assert QueryLog(tmp_path / "log", "b").records == {}
    assert QueryLog(tmp_path / "log", "a").records == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--subset", "0"], "--subset 0: must be at least 1"),
        (["--method", "a b"], "--method 'a b': use letters"),
        (["--places", "paris"], "has no place 'paris' here"),
        (["--pairs", "no.txt"], "no.txt: no such file"),
        (["--pairs", "a.txt", "--global-features", "a.h5"], "not allowed with argument --pairs"),
    ],
)
def test_wrong_options_are_told_before_any_work(
    tmp_path: Path, run: Run, more: list[str], said: str
) -> None:
    folders.write_colmap_folder(tmp_path / "set")
    code, _, err = run("colmap", tmp_path / "set", "--output", tmp_path / "out", *more)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()

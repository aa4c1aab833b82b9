"""`deviloc benchmark` from beginning to end, on small folders with exact truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import benchmark_folders as folders
import pytest

from deviloc_ros.benchmark.query_log import QueryLog
from deviloc_ros.cli.main import main
from deviloc_ros.datasets.poses import read_poses

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["benchmark", *map(str, arguments), *folders.SETTINGS])
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


def test_aachen_from_its_nvm_file_to_the_file_of_the_server(tmp_path: Path, run: Run) -> None:
    truth = folders.write_aachen(tmp_path / "set")
    out = tmp_path / "out"
    code, text, _ = run("aachen", tmp_path / "set", "--output", out, "--pictures", 1)
    assert code == 0
    close(out / "Aachen_eval_deviloc_ros_xfeat.txt", truth, list(truth))
    assert "true poses are hidden: visuallocalization.net evaluates" in text
    page = (out / "report.html").read_text()
    assert "DeViLoc (published)" in page
    assert "87.8 / 93.9 / 100" in page
    assert page.count("<figure>") == 1
    assert "data:image/jpeg;base64," in page

    # Again: nothing is built or localized. A log that was cut off within a line: only the last.
    log = out / "queries" / "aachen.jsonl"
    whole = log.read_text()
    built = (out / "maps" / "aachen.devmap").stat().st_mtime_ns
    assert run("aachen", tmp_path / "set", "--output", out)[0] == 0
    assert log.read_text() == whole
    head, first, last = whole.splitlines(keepends=True)
    log.write_text(head + first + last[:30])
    assert run("aachen", tmp_path / "set", "--output", out)[0] == 0
    again = log.read_text().splitlines(keepends=True)
    assert again[:2] == [head, first]
    assert json.loads(again[2])["camera_from_map"] == json.loads(last)["camera_from_map"]
    assert (out / "maps" / "aachen.devmap").stat().st_mtime_ns == built

    # Pairs replace retrieval: the map's images in the order of the file, unknown ones passed over.
    night = "query/night/nexus5x/IMG_1.jpg"
    pairs = tmp_path / "pairs.txt"
    pairs.write_text(f"{night} db/4.jpg\n{night} db/77.jpg\n{night} db/2.jpg\n")
    code, _, err = run("aachen", tmp_path / "set", "--output", out, "--pairs", pairs)
    assert code == 0
    assert "1 queries have no pair there (query/day/" in err
    records = {r["name"]: r for r in json.loads((out / "queries.json").read_text())["images"]}
    assert records[night]["references"] == ["db/4.jpg", "db/2.jpg"]
    lost = next(record for name, record in records.items() if name != night)
    assert lost["reason"] == "NO_REFERENCES"
    pairs.write_text("day/1.jpg db/4.jpg\n")
    code, _, err = run("aachen", tmp_path / "set", "--output", out, "--pairs", pairs)
    assert code == 2
    assert "pairs none of the 2 queries of aachen" in err


def test_robotcar_is_scored_by_its_public_poses(tmp_path: Path, run: Run) -> None:
    truth = folders.write_robotcar(tmp_path / "set")
    out = tmp_path / "out"
    code, text, err = run("robotcar", tmp_path / "set", "--output", out)
    assert code == 0
    close(out / "RobotCar_eval_deviloc_ros_xfeat.txt", truth, list(truth))
    assert "the rig of the three cameras is not used" in err
    # The map is another benchmark's: it is built for each by itself.
    code, text, _ = run("robotcar-public", tmp_path / "set", "--output", out, "--method", "mine")
    assert code == 0
    close(out / "RobotCar_public_mine.txt", truth, ["rear/1418721355450545.jpg"])
    assert "100.0 / 100.0 / 100.0 %" in text
    scores = json.loads((out / "queries.json").read_text())["scores"]
    assert [score["group"] for score in scores] == ["all"]
    assert scores[0]["recall"][0] == {"position_m": 0.25, "rotation_deg": 2, "recall": 1.0}


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

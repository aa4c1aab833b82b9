"""The campaign of damaged inputs in its short form, and that it notices what it looks for."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from campaign import kills
from campaign.mutations import bomb
from campaign.supervised import MB, Action, supervise

from deviloc_ros.errors import InputError, NothingFoundError

ROOT = Path(__file__).resolve().parents[2]
CASES = 40


def test_a_few_damaged_inputs(tmp_path: Path) -> None:
    """In a process of its own, for it forks, and threads of this one would be missing there."""
    command = [sys.executable, str(ROOT / "benchmarks" / "robustness.py"), "inputs"]
    arguments = ["--cases", str(CASES), "--seed", "16", "--work", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    again = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=600
    )
    assert again.stdout == done.stdout, "the second run has the lines of the first"


def judged(tmp_path: Path, run: Callable[[], object], **limits: int) -> str:
    folder = tmp_path / "case"
    (folder / "out").mkdir(parents=True)
    outputs = {"result.txt": _read_whole}
    action = Action(run, limits.pop("memory", 100 * MB), outputs, limits.pop("seconds", 10))
    return supervise(action, folder).fault


def _read_whole(path: Path) -> None:
    if not path.read_text().endswith("end\n"):
        raise InputError("is cut short")


def _refuse(error: Exception) -> Callable[[], object]:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize("error", [InputError("place: wrong"), NothingFoundError("nothing")])
def test_a_refusal_is_no_fault(tmp_path: Path, error: Exception) -> None:
    assert judged(tmp_path, _refuse(error)) == ""


def test_a_whole_result_is_no_fault(tmp_path: Path) -> None:
    assert judged(tmp_path, lambda: Path("out/result.txt").write_text("all\nend\n")) == ""


def _loop() -> None:
    while True:
        pass


def _unpickle() -> None:
    pickle.loads(bomb(Path("out/canary")))


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "crash": (os.abort, "crashes: SIGABRT"),
    "other exception": (_refuse(KeyError("x")), "exit code 1"),
    "exit code": (lambda: os._exit(7), "exit code 7"),
    "hang": (_loop, "hangs"),
    "memory": (lambda: len(b"x" * (200 * MB)), "MB are justified"),
    "pickle": (_unpickle, "no input may bring about: FORBIDDEN pickle"),
    "program": (lambda: subprocess.run(["true"], check=True), "no input may bring about"),
    "half a file": (lambda: Path("out/result.txt").write_text("a"), "leaves half of result.txt"),
    "temporary file": (lambda: Path("out/.result.txt.x1").touch(), "leaves .result.txt.x1"),
    "nothing said": (_refuse(InputError("")), "without a line that says why"),
    "page said": (lambda: print("x\n" * 20_000, file=sys.stderr), "says more than people read"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_must_not_be_is_noticed(tmp_path: Path, name: str) -> None:
    run, expected = FAULTS[name]
    assert expected in judged(tmp_path, run, seconds=1)


def test_kills_go_on_as_long_as_the_map_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {"first": "a", "map_0": "a", "map_1": "a", "map_2": "a"}
    killed: list[str] = []

    def finish(place: Path, _: Path, __: kills.Outcome) -> str:
        return digests[place.name]

    def kill(place: Path, _: Path, __: float) -> bool:
        killed.append(place.name)
        place.mkdir(exist_ok=True)
        return True

    monkeypatch.setattr(kills, "_finish", finish)
    monkeypatch.setattr(kills, "_killed", kill)
    told: list[str] = []
    assert kills.kill_builds(tmp_path, 5, 0, told.append).kills == 5
    assert kills.kill_builds(tmp_path, 7, 0, told.append).kills == 7
    assert killed == ["map_0"] * 5 + ["map_1"] * 2
    assert "goes on after 5 kills" in told

    digests["map_2"] = "b"
    outcome = kills.kill_builds(tmp_path, 9, 0, told.append)
    assert outcome.faults == [f"{tmp_path / 'map_2'}: not the map of a build that nobody disturbed"]
    assert kills.kill_builds(tmp_path, 9, 0, told.append).faults, "a fault is tried again"

    digests["first"] = "c"
    assert kills.kill_builds(tmp_path, 0, 0, told.append).kills == 0, "another program, all anew"

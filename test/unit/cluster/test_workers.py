"""The same results from this process and from a Ray cluster, which may lose a worker."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deviloc_ros.cluster.workers import THIS_PROCESS, Workers, open_workers
from deviloc_ros.errors import InputError

ITEMS = list(range(12))


@dataclass(frozen=True)
class Squares:
    """Makes a function that squares; it notes each call, and fails as told."""

    log: Path
    ends_once: int | None = None
    refused: int | None = None

    def __call__(self) -> Callable[[int], tuple[int, int]]:
        return self.square

    def square(self, number: int) -> tuple[int, int]:
        with self.log.open("a") as file:
            file.write(f"{number}\n")
        if number == self.refused:
            raise InputError(f"{number}: cannot be squared")
        if number == self.ends_once and self.log.read_text().split().count(str(number)) == 1:
            os._exit(1)
        time.sleep(0.01 * (number % 3))  # they do not end in the order in which they began
        return number * number, os.getpid()


@pytest.fixture(scope="module")
def two() -> Iterator[Workers]:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'deviloc_ros[ray]')")
    with pytest.MonkeyPatch.context() as patch:
        # Workers import the functions of this file.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        with open_workers("2") as workers:
            yield workers


def test_this_process_keeps_the_order_and_prepares_once(tmp_path: Path) -> None:
    found = list(THIS_PROCESS.map(Squares(tmp_path / "log"), ITEMS, None))
    assert found == [(number * number, os.getpid()) for number in ITEMS]
    with open_workers(None) as workers:
        assert workers is THIS_PROCESS


def test_this_process_does_only_what_is_asked_for(tmp_path: Path) -> None:
    first = next(THIS_PROCESS.map(Squares(tmp_path / "log"), ITEMS, None))
    assert first[0] == 0
    assert (tmp_path / "log").read_text() == "0\n"


def test_without_ray_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'deviloc_ros\[ray\]'"), open_workers("2"):
        pass


def test_no_workers_are_refused() -> None:
    with pytest.raises(InputError, match="--workers 0: must be at least 1"), open_workers("0"):
        pass


def test_two_workers_keep_the_order(two: Workers, tmp_path: Path) -> None:
    found = list(two.map(Squares(tmp_path / "log"), ITEMS, None))
    assert [square for square, _ in found] == [number * number for number in ITEMS]
    processes = {process for _, process in found}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert list(two.map(Squares(tmp_path / "log"), [], None)) == []


def test_the_share_of_a_lost_worker_is_done_again(two: Workers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = list(two.map(Squares(log, ends_once=5), ITEMS, None))
    assert [square for square, _ in found] == [number * number for number in ITEMS]
    assert log.read_text().split().count("5") == 2


def test_what_a_worker_refuses_is_told_as_it_is(two: Workers, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^7: cannot be squared$"):
        list(two.map(Squares(tmp_path / "log", refused=7), ITEMS, None))
    # The next work finds workers again.
    assert len(list(two.map(Squares(tmp_path / "log"), ITEMS, None))) == len(ITEMS)

"""Builds of a map that are killed at random moments, and gone on with."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import NoReturn

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.cli.main import main
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation import wall

CAMERA = Camera("PINHOLE", 320, 240, (270.0, 270.0, 160.0, 120.0))
MOUNT = Transform(
    Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.2, 0.0, 1.0])
)
SETTINGS = ("features.max_size=320", "features.num_keypoints=512", "device=cpu")
KILLS_A_MAP = 5


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        expected: digest of the map that nobody disturbed.
        seconds: that its build takes.
        kills: builds that were killed.
        maps: builds that came to their end after others had been killed.
        kept: of the kills, how many had left something for the next build.
        faults: what was wrong.
    """

    expected: str = ""
    seconds: float = 0.0
    kills: int = 0
    maps: int = 0
    kept: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the line for people."""
        return "; ".join(
            [
                f"{self.kills} kills ({self.kept} left something to go on with), {self.maps} maps, "
                f"{len(self.faults)} faults",
                *self.faults,
            ]
        )


def kill_builds(
    work: Path, kills: int, seed: int, tell: Callable[[str], object] = print
) -> Outcome:
    """Build the same map again and again, and kill most builds; compare what comes of it.

    A run goes on where another one stopped, if an undisturbed build still gives the same map.

    Args:
        work: folder for everything.
        kills: how many builds to kill.
        seed: of the moments.
        tell: takes a line about progress.
    """
    outcome = _begin(work, seed, tell)
    record = work / f"outcome-{seed}.json"
    while outcome.kills < kills and not outcome.faults:
        record.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        _one_map(work, outcome, kills, Random(f"{seed} {outcome.maps}"))
        tell(f"{outcome.kills} kills, {outcome.maps} maps")
    if not outcome.faults:  # another run does again what showed a fault
        record.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    return outcome


def _begin(work: Path, seed: int, tell: Callable[[str], object]) -> Outcome:
    """Return what was done before, or begin; build the map that nobody disturbs."""
    record = work / f"outcome-{seed}.json"
    done = Outcome(**json.loads(record.read_text("utf-8"))) if record.exists() else Outcome()
    shutil.rmtree(work, ignore_errors=True)
    poses = [
        wall.before_the_wall(float(x), yaw=float(8 * (-1) ** index)) @ MOUNT
        for index, x in enumerate(np.linspace(-2, 2, 5))
    ]
    images, _ = wall.write_map_images(poses, CAMERA, work)
    if done.expected:
        record.write_text(json.dumps(asdict(done)), encoding="utf-8")
    new = Outcome()
    begin = time.monotonic()
    new.expected = _finish(work / "first", images, new)
    new.seconds = round(time.monotonic() - begin, 1)
    tell(f"a build takes {new.seconds} s")
    if new.faults or done.expected != new.expected:
        return new
    tell(f"goes on after {done.kills} kills")
    return replace(done, seconds=new.seconds)


def _one_map(work: Path, outcome: Outcome, kills: int, random: Random) -> None:
    """Kill some builds of a map, finish it and compare it."""
    images = work / "images"
    place = work / f"map_{outcome.maps}"
    shutil.rmtree(place, ignore_errors=True)
    for _ in range(min(KILLS_A_MAP, kills - outcome.kills)):
        if _killed(place, images, random.uniform(0, outcome.seconds)):
            outcome.kills += 1
            outcome.kept += (place / "wall.devmap.build" / "fingerprint").exists()
            if (place / "wall.devmap").exists() and _digest(place) != outcome.expected:
                outcome.faults.append(f"half a map after kill {outcome.kills}")
        else:  # it was done before: a map that is there is made anew by the next command
            (place / "wall.devmap").unlink(missing_ok=True)
    if _finish(place, images, outcome) != outcome.expected:
        outcome.faults.append(f"{place}: not the map of a build that nobody disturbed")
    outcome.maps += 1
    if not outcome.faults:
        shutil.rmtree(place)


def _command(images: Path) -> list[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["map", "build", "--images", str(images), "--output", "wall.devmap",
            "--camera", str(CAMERA), *settings]  # fmt: skip


def _start(place: Path, images: Path) -> int:
    """Begin a build in a fork, in a group of processes of its own."""
    place.mkdir(exist_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _build(place, images)
    with suppress(PermissionError, ProcessLookupError):
        os.setpgid(child, child)
    return child


def _build(place: Path, images: Path) -> NoReturn:
    code = 70
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(place)
        log = os.open(place.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = main(_command(images))
    finally:
        os._exit(code)


def _killed(place: Path, images: Path, after: float) -> bool:
    """Begin a build and kill it after so many seconds; False: it was done before."""
    child = _start(place, images)
    with _not_left_behind(child):
        if _wait(child, after) is not None:
            return False
        os.killpg(child, signal.SIGKILL)
        return os.WIFSIGNALED(_wait(child) or 0)


def _wait(child: int, seconds: float = math.inf) -> int | None:
    """Return the status of a child that ends within a time, else None."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    return None


@contextmanager
def _not_left_behind(child: int) -> Iterator[None]:
    """Kill a build if this process is ended meanwhile: it has a group of its own."""

    def end(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _finish(place: Path, images: Path, outcome: Outcome) -> str:
    """Build to the end; return the map's digest."""
    child = _start(place, images)
    with _not_left_behind(child):
        code = os.waitstatus_to_exitcode(_wait(child) or 0)
    if code != 0:
        last = place.with_suffix(".log").read_text("utf-8", "replace").strip().splitlines()[-1:]
        outcome.faults.append(f"{place}: exit code {code}: {last}")
        return ""
    if left := [path.name for path in place.iterdir() if path.name != "wall.devmap"]:
        outcome.faults.append(f"{place}: left behind: {', '.join(left)}")
    return _digest(place)


def _digest(place: Path) -> str:
    return hashlib.sha256((place / "wall.devmap").read_bytes()).hexdigest()

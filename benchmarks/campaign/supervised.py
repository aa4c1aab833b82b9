"""One case in a process of its own, with limits, and the judgement of what it did.

The process is a fork of one that has imported everything, so a case costs milliseconds. Nothing
that starts threads may run in the parent: a fork has none of them.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import os
import re
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from deviloc_ros.cli.main import main
from deviloc_ros.errors import InputError, NothingFoundError

CPU_SECONDS = 10
WALL_SECONDS = 120
"""Machines are shared: what counts is the time that the case itself takes, if it does not sleep."""
ADDRESS_SPACE = 3 * 1024**3
MOST_CHARACTERS = 20_000
MB = 1024**2
FORBIDDEN = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")


@dataclass(frozen=True)
class Action:
    """What is done with an input.

    Attributes:
        run: a command line of deviloc, or a function; it may raise as those of commands do.
        memory: bytes that it may take besides what the process has.
        outputs: where results may come to lie, with what reads each of them; relative to the case.
        seconds: of processor time that it may take.
    """

    run: list[str] | Callable[[], object]
    memory: int
    outputs: dict[str, Callable[[Path], object]] = field(default_factory=dict)
    seconds: int = CPU_SECONDS


@dataclass(frozen=True)
class Verdict:
    """What came of a case.

    Attributes:
        fault: what was wrong; empty: nothing.
        code: its exit code; None: it was killed.
        said: what it printed on stderr.
        memory: bytes that it took at most.
        seconds: of processor time.
    """

    fault: str
    code: int | None
    said: str
    memory: int
    seconds: float


def supervise(action: Action, folder: Path) -> Verdict:
    """Run an action in a fork whose working directory is `folder`, and judge it."""
    gc.freeze()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _work(action, folder)
    status, usage, late = _wait(child)
    before = int(_text(folder / "before") or 0)
    said = _text(folder / "stderr")
    code = os.waitstatus_to_exitcode(status)
    memory = max(usage.ru_maxrss * 1024 - before, 0)
    seconds = usage.ru_utime + usage.ru_stime
    fault = _fault(action, folder, code, said, memory, late)
    return Verdict(fault, code if code >= 0 else None, said, memory, round(seconds, 3))


def _work(action: Action, folder: Path) -> NoReturn:
    """Be the child: never return."""
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        # A fork begins with less than its parent has: it maps files when it touches them.
        Path("before").write_text(str(_resident()), encoding="ascii")
        for number, name in ((1, "stdout"), (2, "stderr")):
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), write_through=True)
        _limit(action)
        faulthandler.disable()  # pytest's would write to where it prints
        sys.addaudithook(_watch)
        code = _run(action.run)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(run: list[str] | Callable[[], object]) -> int:
    if isinstance(run, list):
        return main(run)
    try:
        run()
    except InputError as error:
        print(f"deviloc: {error}", file=sys.stderr)
        return 2
    except NothingFoundError as error:
        print(f"deviloc: {error}", file=sys.stderr)
        return 3
    return 0


def _limit(action: Action) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (action.seconds, action.seconds + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 1024**3,) * 2)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Tell of what no input may bring about."""
    if event.startswith(FORBIDDEN):
        os.write(2, f"FORBIDDEN {event} {arguments!r:.200}\n".encode())


def _wait(child: int) -> tuple[int, resource.struct_rusage, bool]:
    """Return status and usage of a child, and whether it had to be killed for being late."""
    handle = os.pidfd_open(child)
    ready, _, _ = select.select([handle], [], [], WALL_SECONDS)
    if not ready:
        os.killpg(child, signal.SIGKILL)
    os.close(handle)
    _, status, usage = os.wait4(child, 0)
    with suppress(ProcessLookupError):  # what it may have left running
        os.killpg(child, signal.SIGKILL)
    return status, usage, not ready


def _fault(action: Action, folder: Path, code: int, said: str, memory: int, late: bool) -> str:
    if late:
        return f"hangs: still there after {WALL_SECONDS} s"
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        return f"hangs: {action.seconds} s of processor time"
    if code < 0:
        return f"crashes: {signal.Signals(-code).name}"
    if "FORBIDDEN" in said:
        return "does what no input may bring about: " + said[said.index("FORBIDDEN") :][:200]
    if code not in (0, 2, 3):
        return f"exit code {code}"
    # libjpeg writes "Warning: ..." to stderr by itself, about headers that it does not know.
    if "Traceback (most recent call last)" in said or re.search(r"\wWarning: ", said):
        return "prints a traceback or a warning of Python's"
    told = [line for line in said.splitlines() if line.startswith("deviloc: ")]
    if code in (2, 3) and not any(line.removeprefix("deviloc: ").strip() for line in told):
        return f"exit code {code} without a line that says why"
    if len(said) > MOST_CHARACTERS:
        return f"says more than people read: {len(said)} characters"
    if memory > action.memory:
        return f"takes {memory // MB} MB, at most {action.memory // MB} MB are justified"
    return _left(action, folder)


def _left(action: Action, folder: Path) -> str:
    """Return what is wrong with the files that an action left."""
    for path in sorted((folder / "out").rglob("*")):
        name = str(path.relative_to(folder / "out"))
        if path.name.startswith(".") or path.suffix in (".part", ".tmp", ".lock"):
            return f"leaves {name}"
    for name, read in action.outputs.items():
        if (folder / "out" / name).exists():
            try:
                read(folder / "out" / name)
            except Exception as error:
                return f"leaves half of {name}: {error}"
    return ""


def _resident() -> int:
    """Return the bytes of memory that this process occupies."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""

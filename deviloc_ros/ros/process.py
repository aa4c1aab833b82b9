"""A process of the package: how it begins, spins and ends.

SIGINT and SIGTERM ask the process to end, and end it if it does not within a moment.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import rclpy
import yaml
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
)
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from deviloc_ros.errors import InputError

GRACE_SECONDS = 0.7
"""What is in hand may take so long after a signal, seconds."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Termination:
    """Listens to the signals that end a process.

    Python runs a signal's handler in the main thread, between two of its steps: one that is inside
    of a library, reading a large map, would notice only when that returns. So a thread listens at
    the pipe into which the interpreter writes the signal's number at once.

    What has something to finish says so by `call`, and is given a moment for it. Without, and when
    that moment is over, the process ends with code 0 wherever its threads are: neither a library
    that cannot be interrupted nor its unloading is waited for. What is lost then is what was not
    written yet: nothing, as files are renamed into place.

    Args:
        grace: time to finish, seconds.
    """

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        """Begin to listen; must be called in the main thread."""
        self._grace = grace
        self._requested = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        _install_handlers()
        # Both from the beginning: where a library keeps the interpreter to itself, starting a
        # thread would have to wait for it several times.
        for task in (self._watch, self._limit):
            threading.Thread(target=task, name="termination", daemon=True).start()

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._requested.is_set()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Hold signals back during an import that installs handlers of its own, then take over."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            _install_handlers()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def call(self, callback: Callable[[], object]) -> None:
        """Have something called by the listening thread when a signal comes; at once if it has.

        From now on there is something to finish.
        """
        with self._lock:
            if not self.requested:
                self._callbacks.append(callback)
                return
        callback()

    def end_process(self, code: int = 0) -> None:
        """End it without unloading the libraries: that would take another second."""
        # Whoever read the output may have gone before.
        with suppress(OSError):
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(code)

    def _watch(self) -> None:
        # The main thread alone takes signals, so that it alone can hold them back.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        while os.read(self._reading, 1)[0] not in SIGNALS:
            pass
        with self._lock:
            self._requested.set()
            callbacks = list(self._callbacks)
        if not callbacks:
            self.end_process()
        for callback in callbacks:
            callback()

    def _limit(self) -> None:
        """End the process; not from `_watch`, whose callbacks may wait for the main thread."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._requested.wait()
        time.sleep(self._grace)
        with suppress(OSError):
            print("still busy: ending without waiting for it", file=sys.stderr)
        self.end_process()


def _install_handlers() -> None:
    for number in SIGNALS:
        signal.signal(number, _leave_it_to_the_thread)


def _leave_it_to_the_thread(number: int, frame: FrameType | None) -> None:
    """Do nothing: without a handler in Python, no number is written into the pipe."""


FINISHED_PERIOD = 0.1
"""Time between two looks at whether a node has finished by itself, seconds."""


def run(body: Callable[[], int], arguments: Sequence[str] | None, termination: Termination) -> int:
    """Run the body of a main function between `rclpy.init` and shutdown; return the exit code.

    Args:
        body: makes a node, spins it and returns the exit code.
        arguments: of the command line; None: the process' own.
        termination: after a signal this does not return: the process ends here.

    Returns:
        What the body returns, 0 if the context was shut down, 2 for an InputError, told in a line.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        for option, value in itertools.pairwise(given):
            if option == "--params-file":
                _check_parameters_file(Path(value))
        rclpy.init(
            args=list(arguments) if arguments is not None else None,
            # After rclpy's own handlers the context is gone, and what is in hand with it.
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except (InputError, RuntimeError) as error:
        print(f"error: {_without_places(str(error))}", file=sys.stderr)
        return 2
    code = 0
    try:
        code = body()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except ExternalShutdownException:
        pass
    finally:
        rclpy.try_shutdown()
    if termination.requested:
        termination.end_process(code)
    return code


def _check_parameters_file(path: Path) -> None:
    """Refuse what is no YAML with its place, which rcl does not name.

    Raises:
        InputError: the file cannot be read, or is no YAML.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for _ in yaml.parse(file):
                pass
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not a readable YAML file: {error}") from None


def _without_places(message: str) -> str:
    """Return a message of rcl in one line, without the places in its sources."""
    return re.sub(r",? at /\S+\.c(?:pp)?:\d+", "", " ".join(message.split())).replace(" , ", ", ")


FAULTS, FAULTS_SECONDS = 100, 1.0
"""So many faults in so short a time, seconds, are the executor's own: the process ends."""


def spin(
    node: Node,
    termination: Termination,
    finished: Callable[[], bool] | None = None,
    on_fault: Callable[[str], object] | None = None,
) -> None:
    """Let a node work until a signal comes, the context is shut down, or it has finished.

    What a callback raises ends that callback alone: requests to rclpy's own services, such as a
    parameter of a type that does not exist, must not end a robot's localization.

    Args:
        node: the node.
        termination: tells of signals.
        finished: whether the node has nothing more to do.
        on_fault: takes the traceback of what a callback raised; None: it is logged.
    """
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    ended: Future[None] = Future(executor=executor)

    def look() -> None:
        if finished is not None and finished():
            ended.set_result(None)

    if finished is not None:
        # On the machine's clock: simulated time stands still when playback is over.
        node.create_timer(FINISHED_PERIOD, look, clock=Clock(clock_type=ClockType.STEADY_TIME))
    termination.call(lambda: ended.set_result(None))
    faults: deque[float] = deque(maxlen=FAULTS)
    while not ended.done() and node.context.ok():
        try:
            executor.spin_until_future_complete(ended)
        except (ExternalShutdownException, ShutdownException):
            raise
        except Exception:
            faults.append(time.monotonic())
            if len(faults) == FAULTS and faults[-1] - faults[0] < FAULTS_SECONDS:
                raise
            (on_fault or node.get_logger().error)(traceback.format_exc())

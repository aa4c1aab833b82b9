"""How long each stage of a query took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol


class Mark(Protocol):
    """A moment in what a device works through, which may still be to come."""

    def seconds_since(self, earlier: Any) -> float:
        """Wait until the device has passed both, and return the time between."""
        ...


@dataclass(frozen=True)
class _Run:
    """A stage that ran.

    Attributes:
        stage: its name.
        begin: when it began, seconds.
        end: when the host was done with it.
        mark: when the device is; None: it is the host that computes.
    """

    stage: str
    begin: float
    end: float
    mark: Mark | None


@dataclass(frozen=True)
class _Share:
    """One query's part of what several had in common.

    Attributes:
        clock: has taken the time.
        count: number of queries.
    """

    clock: StageClock
    count: int


class StageClock:
    """Sums wall time per named stage, in the order in which stages first ran.

    A device works behind the host, which does not wait for it at the end of a stage. So a stage
    lasts until the device has passed a mark, and the next one begins then. Only who asks for the
    times waits.
    """

    def __init__(self, mark: Callable[[], Mark] | None = None) -> None:
        """Start with no stage.

        Args:
            mark: tells the device to note the time when it gets there; None: without a device.
        """
        self._mark = mark
        self._runs: list[_Run | _Share] = []
        self._before: tuple[StageClock, int] | None = None
        # A moment by the host's clock and on the device, which is idle then.
        self._began = time.perf_counter(), None if mark is None else mark()

    def shared(self, count: int) -> StageClock:
        """Return a clock that begins with one query's share of what `count` had in common."""
        own = StageClock(self._mark)
        own._before, own._began = (self, max(count, 1)), self._began
        return own

    def take_share(self, common: StageClock, count: int) -> None:
        """Add one query's share of what `count` queries had in common."""
        self._runs.append(_Share(common, max(count, 1)))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            mark = None if self._mark is None else self._mark()
            self._runs.append(_Run(stage, begin, time.perf_counter(), mark))

    @property
    def seconds(self) -> dict[str, float]:
        """Time of each stage until now."""
        return self._until_now()[0]

    def _until_now(self) -> tuple[dict[str, float], float]:
        """Return the time of each stage, and when the device was done with the last."""
        began, first = self._began
        result: dict[str, float] = {}
        done = began
        if self._before is not None:
            clock, count = self._before
            common, done = clock._until_now()
            result = {stage: took / count for stage, took in common.items()}
        for run in self._runs:
            if isinstance(run, _Share):
                for stage, took in run.clock.seconds.items():
                    result[stage] = result.get(stage, 0.0) + took / run.count
                continue
            begin, end = run.begin, run.end
            if run.mark is not None:
                begin, end = max(begin, done), max(end, began + run.mark.seconds_since(first))
                done = end
            result[run.stage] = result.get(run.stage, 0.0) + max(end - begin, 0.0)
        return result, done

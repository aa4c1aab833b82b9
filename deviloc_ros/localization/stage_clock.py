"""How long each stage of a query took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageClock:
    """Sums wall time per named stage, in the order in which stages first ran."""

    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        """Start from the stages that ran before, if any."""
        self.seconds: dict[str, float] = dict(seconds or {})

    def shared(self, count: int) -> StageClock:
        """Return a clock that begins with one query's share of what `count` had in common."""
        return StageClock({stage: took / max(count, 1) for stage, took in self.seconds.items()})

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

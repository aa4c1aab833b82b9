"""Counters of what happens to images, and means over the last seconds."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from deviloc_ros.localization.types import FailureReason
from deviloc_ros.robot.outcome import Fix, Outcome
from deviloc_ros.ros.diagnostics.snapshot import Snapshot

WINDOW_SECONDS = 10.0
UNUSABLE = (
    FailureReason.BAD_IMAGE,
    FailureReason.BAD_CALIBRATION,
    FailureReason.NO_EXTRINSICS,
)
"""Reasons that somebody must mend: the map was not even asked."""


@dataclass(frozen=True)
class _Result:
    """A result in the window: when, what it took, a pose's inliers, why images were no use."""

    when: float
    latency: float
    stages: Mapping[str, float]
    inliers: int | None
    unusable: tuple[str, ...]


class Statistics:
    """Counts what happens to images since activation; safe to use from any thread.

    Time is the machine's: simulated time may stand still.
    """

    def __init__(self) -> None:
        """Start counting now."""
        self._lock = threading.Lock()
        self._started = self._listening_since = time.monotonic()
        self._received = 0
        self._localized = 0
        self._refused = 0
        self._late = 0
        self._errors = 0
        self._damaged = 0
        self._inliers = 0
        self._ways: Counter[str] = Counter()
        self._last_fix = float("-inf")
        self._last_refusal = ""
        self._tf = ""
        self._dropped = 0
        self._arrivals: deque[tuple[float, bool]] = deque()
        self._results: deque[_Result] = deque()

    def count_received(self, replaced: bool) -> None:
        """Count an image, or a set of one instant, that came, perhaps in the place of another."""
        with self._lock:
            self._received += 1
            self._dropped += replaced
            self._arrivals.append((time.monotonic(), replaced))

    def count_dropped(self) -> None:
        """Count images that came, and are not worked on."""
        with self._lock:
            self._dropped += 1

    def count_fault(self) -> None:
        """Count a fault of the node that belongs to no image."""
        with self._lock:
            self._errors += 1

    def use_another_map(self) -> None:
        """Count what is wrong with the map from now on."""
        with self._lock:
            self._damaged = 0

    def listen(self) -> None:
        """Count time without images or poses from now on: after a pause."""
        with self._lock:
            self._listening_since = time.monotonic()

    def count(
        self, outcome: Outcome, wait: float, latency: float, max_latency: float, tf: str
    ) -> None:
        """Count a result.

        Args:
            outcome: what became of the images.
            wait: from their stamp until they had their turn, on the node's clock, seconds.
            latency: from their stamp to now, on the node's clock, seconds.
            max_latency: above this a result is late, seconds.
            tf: the transform published, or why none was.
        """
        now = time.monotonic()
        with self._lock:
            self._late += latency > max_latency
            if outcome.way is not None:
                self._ways[outcome.way.value] += 1
            fix = isinstance(outcome.result, Fix)
            self._results.append(
                _Result(
                    now,
                    latency,
                    {"wait": wait, **outcome.stage_seconds},
                    outcome.num_inliers if fix else None,
                    _unusable(outcome),
                )
            )
            if isinstance(outcome.result, Fix):
                self._localized += 1
                self._inliers = outcome.num_inliers
                self._last_fix = now
                self._tf = tf
            else:
                self._refused += 1
                self._errors += outcome.result.reason is FailureReason.INTERNAL_ERROR
                self._damaged += outcome.result.reason is FailureReason.DAMAGED_MAP
                self._last_refusal = f"{outcome.result.reason.name}: {outcome.result.details}"

    def snapshot(self) -> Snapshot:
        """Return what was counted."""
        now = time.monotonic()
        with self._lock:
            while self._arrivals and self._arrivals[0][0] < now - WINDOW_SECONDS:
                self._arrivals.popleft()
            while self._results and self._results[0].when < now - WINDOW_SECONDS:
                self._results.popleft()
            window = min(WINDOW_SECONDS, max(now - self._started, 1e-3))
            results = list(self._results)
            inliers = [result.inliers for result in results if result.inliers is not None]
            stages = {name for result in results for name in result.stages}
            return Snapshot(
                listening=now - self._listening_since,
                received=self._received,
                localized=self._localized,
                refused=self._refused,
                dropped=self._dropped,
                dropped_share=_mean([float(replaced) for _, replaced in self._arrivals] or [0.0]),
                late=self._late,
                rate=len(inliers) / window,
                latency=_mean([result.latency for result in results]),
                stages={
                    name: _mean([result.stages.get(name, 0.0) for result in results])
                    for name in sorted(stages)
                },
                inliers=self._inliers,
                ways=dict(self._ways),
                mean_inliers=_mean([float(count) for count in inliers]),
                unusable=Counter(why for result in results for why in result.unusable),
                all_unusable=bool(results)
                and all(result.unusable and result.inliers is None for result in results),
                fix_age=now - max(self._last_fix, self._listening_since),
                last_refusal=self._last_refusal,
                damaged=self._damaged,
                tf=self._tf,
                internal_errors=self._errors,
            )


def _unusable(outcome: Outcome) -> tuple[str, ...]:
    """Return why images of an outcome could not be used, with the camera's name in a rig."""
    refused = {f"{name} " if name else "": item for name, item in outcome.left_out.items()}
    if not refused and not isinstance(outcome.result, Fix):
        refused = {"": outcome.result}
    return tuple(
        f"{name}{item.reason.name}" for name, item in refused.items() if item.reason in UNUSABLE
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")

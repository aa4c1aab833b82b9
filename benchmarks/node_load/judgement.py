"""Whether a node under load accounts for every image, and whether its memory grows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from node_load.record import Record

WARM_SECONDS = 60.0
"""Caches and the arenas of allocators fill in this time."""
MOST_GROWTH = 0.05
"""Of memory from the first third after that to the last one: two maps may be there at a moment."""
FEWEST_SAMPLES = 6


def counts(record: Record) -> dict[str, int]:
    """Return the node's newest counters of images."""
    names = ("received", "localized", "refused", "dropped")
    return {name: int(record.diagnostics.get(f"frames_{name}", -1)) for name in names}


def rest(record: Record) -> int:
    """Return how many images came of which the node says nothing."""
    count = counts(record)
    return count["received"] - count["localized"] - count["refused"] - count["dropped"]


def unaccounted(record: Record) -> list[str]:
    """Return what is wrong with the counters of a node that has nothing more to do."""
    count, sent, said = counts(record), len(record.sent), len(record.answers)
    if rest(record) != 0:
        return [f"images are not accounted for: {count}"]
    if count["received"] > sent:
        return [f"more images received than sent: {count}, {sent} sent"]
    if said > count["localized"] + count["refused"]:
        return [f"{said} results on ~/status: {count}"]
    return []


def growth(record: Record, begin: float, end: float) -> list[str]:
    """Return whether memory grew between two times of `Record.memory`, of which the first warms."""
    memory = _warm(record, begin, end)
    if len(memory) < FEWEST_SAMPLES:
        return ["too short to say whether memory grows: more than a minute is needed"]
    first, last = _thirds(memory)
    if last > first * (1 + MOST_GROWTH):
        return [f"memory grows: from {first:.1f} MB after the first minute to {last:.1f} MB"]
    return []


def figures(record: Record, begin: float, end: float) -> dict[str, object]:
    """Return the figures for people."""
    found: dict[str, object] = {
        "minutes": round((end - begin) / 60, 1),
        "images sent": len(record.sent),
        **{f"images {name}": value for name, value in counts(record).items()},
    }
    memory = _warm(record, begin, end)
    if len(memory) >= FEWEST_SAMPLES:
        first, last = _thirds(memory)
        found |= {
            "memory MB after a minute, median of a third": round(first, 1),
            "memory MB at the end, median of a third": round(last, 1),
            "memory MB at most": round(float(memory.max()), 1),
        }
    return found


def _warm(record: Record, begin: float, end: float) -> NDArray[np.float64]:
    return np.array([mb for when, mb in record.memory if begin + WARM_SECONDS <= when <= end])


def _thirds(memory: NDArray[np.float64]) -> tuple[float, float]:
    """Return the medians of the first and of the last third."""
    third = len(memory) // 3
    return float(np.median(memory[:third])), float(np.median(memory[-third:]))

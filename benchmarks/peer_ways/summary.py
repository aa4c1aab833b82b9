"""Results of benchmarks/peers.py as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lifting.tables import interval

HEADER = (
    "| scene | map | queries | way | localized | median position (95 %) | 90th percentile "
    "| median rotation | CPU-s a query | peak memory | map bytes an image "
    "| build CPU-s an image |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)
BLOCK = ("scene", "variant", "hardship", "way")


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return one line a scene, map, hardship and way.

    A query without a pose counts as infinitely far off, so that a way gains nothing by leaving out
    what is hard: percentiles are of all queries.

    Args:
        records: of queries, see benchmarks/peers.py.
    """
    blocks: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for record in records:
        blocks.setdefault(tuple(record[key] for key in BLOCK), []).append(record)
    return HEADER + "".join(_line(key, blocks[key]) for key in sorted(blocks))


def _line(key: tuple[str, ...], records: Sequence[Mapping[str, Any]]) -> str:
    errors = np.array([record["error"] or (np.inf, np.inf) for record in records], dtype=np.float64)
    positions, rotations = errors.T
    localized = int(np.isfinite(positions).sum())
    with np.errstate(invalid="ignore"):
        low, high = interval(positions)
    # Between a number and infinity nothing is interpolated.
    median, far = np.percentile(positions, (50, 90), method="higher")
    middle = np.percentile(rotations, 50, method="higher")
    last = records[-1]
    seconds = last["build_seconds"]
    cells = [
        f"{localized} of {len(records)}",
        f"{_number(median)} ({_number(low)}-{_number(high)})",
        _number(far),
        f"{_number(middle)} deg",
        f"{np.mean([record['cpu_seconds'] for record in records]):.2f}",
        f"{max(record['peak_bytes'] for record in records) / 2**20:.0f} MiB",
        f"{last['map_bytes'] / last['images'] / 1024:.0f} KiB",
        "not measured" if seconds is None else f"{seconds / last['images']:.1f}",
    ]
    return f"| {' | '.join([*key, *cells])} |\n"


def _number(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "none"

"""Results of benchmarks/pin.py as Markdown, with bootstrap intervals."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lifting.depth import BINS, told

RESAMPLES = 2000
METRES, DEGREES = 0.25, 2.0


@dataclass(frozen=True)
class Result:
    """What one way to lift made of one scene's queries.

    Attributes:
        block: what was varied: points, noise, or queries.
        scene: map and queries.
        variant: what was done to the map or to the queries.
        method: the lift, or SIFT.
        errors: (N, 2) metres and degrees of each query; infinite without a pose.
        hidden: depth errors at hidden observations (DepthErrors.summary), if measured.
        sensor: the same against a depth sensor.
    """

    block: str
    scene: str
    variant: str
    method: str
    errors: NDArray[np.float64]
    hidden: Mapping[str, Any] | None = None
    sensor: Mapping[str, Any] | None = None

    @property
    def within(self) -> NDArray[np.bool_]:
        """Which queries are within (0.25 m, 2 deg), (N,)."""
        return np.asarray((self.errors[:, 0] <= METRES) & (self.errors[:, 1] <= DEGREES))

    def cell(self) -> str:
        """Return the median position error with its 95 % interval, rotation, and who is within."""
        if not len(self.errors):
            return ""
        low, high = interval(self.errors[:, 0])
        metres, degrees = np.median(self.errors, axis=0)
        median = f"{metres:.3f} m ({low:.3f}-{high:.3f}), {degrees:.3f} deg"
        return f"{median}; {int(self.within.sum())}/{len(self.errors)}"


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median of values (N,)."""
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    medians = np.sort(np.median(values[drawn], axis=1))
    return float(medians[int(0.025 * RESAMPLES)]), float(medians[int(0.975 * RESAMPLES) - 1])


def pose_table(results: Sequence[Result]) -> str:
    """Return one line a scene and variant, one column a method."""
    return _table(results, lambda result: result.cell())


def depth_table(results: Sequence[Result], source: str) -> str:
    """Return the same of depth errors, `hidden` or `sensor`; empty if there are none."""
    measured = [result for result in results if getattr(result, source) is not None]
    return _table(measured, lambda result: told(getattr(result, source))) if measured else ""


def reliability_table(results: Sequence[Result]) -> str:
    """Return how often inferred depths are right to 2 %, against how confident the lift was."""
    measured = [result for result in results if result.hidden is not None]
    lines = ["| block | method | " + " | ".join(f"{a:g} to {b:g}" for a, b in _pairs()) + " |"]
    lines.append("|---" * (2 + len(_pairs())) + "|")
    for block in dict.fromkeys(r.block for r in measured):
        for method in dict.fromkeys(r.method for r in measured if r.block == block):
            own = [r.hidden for r in measured if (r.block, r.method) == (block, method)]
            bins = np.sum([item["bins"] for item in own if item is not None], axis=0)
            cells = [
                f"{right / count:.0%} (said {said / count:.0%}, {int(count)})" if count else ""
                for count, said, right in bins
            ]
            lines.append(f"| {block} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _pairs() -> list[tuple[float, float]]:
    return list(itertools.pairwise(BINS))


def summary_table(results: Sequence[Result], base: str) -> str:
    """Return, over all scenes of a block, recall and median errors relative to a method's.

    The ratio is the geometric mean, over scenes and variants, of median position errors; queries
    are drawn with replacement within each, the same for both methods.
    """
    lines = ["| block | method | within (0.25 m, 2 deg) | median error against " + base + " |"]
    lines.append("|---|---|---|---|")
    by_key = {(r.block, r.scene, r.variant, r.method): r for r in results}
    for block in dict.fromkeys(r.block for r in results):
        methods = dict.fromkeys(r.method for r in results if r.block == block)
        for method in methods:
            own = [r for r in results if (r.block, r.method) == (block, method)]
            within = np.concatenate([r.within for r in own])
            pairs = [(r, by_key.get((r.block, r.scene, r.variant, base))) for r in own]
            ratio = _ratio([(a.errors[:, 0], b.errors[:, 0]) for a, b in pairs if b is not None])
            lines.append(
                f"| {block} | {method} | {within.sum()}/{len(within)} ({within.mean():.1%}) | "
                f"{'' if method == base else ratio} |"
            )
    return "\n".join(lines) + "\n"


def _ratio(pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> str:
    generator = np.random.default_rng(0)
    logs = []
    for own, other in pairs:
        drawn = generator.integers(0, len(own), (RESAMPLES, len(own)))
        drawn[0] = np.arange(len(own))
        # A median without a pose counts as a metre, so that it can be averaged.
        medians = [np.minimum(np.median(values[drawn], axis=1), 1.0) for values in (own, other)]
        logs.append(np.log(medians[0] / medians[1]))
    if not logs:
        return ""
    means = np.exp(np.mean(logs, axis=0))
    low, high = np.quantile(means[1:], [0.025, 0.975])
    return f"{means[0]:.2f} ({low:.2f}-{high:.2f})"


def _table(results: Sequence[Result], cell: Callable[[Result], str]) -> str:
    methods = list(dict.fromkeys(result.method for result in results))
    lines = [f"| scene | variant | {' | '.join(methods)} |", "|---" * (2 + len(methods)) + "|"]
    by_key = {(r.scene, r.variant, r.method): cell(r) for r in results}
    for scene, variant in dict.fromkeys((r.scene, r.variant) for r in results):
        cells = [by_key.get((scene, variant, method), "") for method in methods]
        lines.append(f"| {scene} | {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"

"""The demo's result as one HTML file that needs no other."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from deviloc_ros.atomic import atomic_path
from deviloc_ros.demo import plots
from deviloc_ros.demo.pictures import MatchPicture
from deviloc_ros.demo.score import Score, Summary
from deviloc_ros.maps.map import Map


@dataclass(frozen=True)
class Story:
    """Everything that the page tells.

    Attributes:
        scores: of every image.
        summary: the headline numbers.
        reference_map: the map.
        day: a map image, as a data URI.
        evening: a query near it, as a data URI.
        pictures: what each match picture shows, and the picture.
        lane_distance: between the two passes, metres.
        notes: how long the parts took, and how they were made.
        command: to make it again.
    """

    scores: Sequence[Score]
    summary: Summary
    reference_map: Map
    day: str
    evening: str
    pictures: Sequence[tuple[str, MatchPicture]]
    lane_distance: float
    notes: Sequence[str]
    command: str


def headline(summary: Summary) -> str:
    """Return the result in one line."""
    text = f"{summary.localized} of {summary.answered} evening images localized"
    if summary.answered < summary.images:
        text += f" ({summary.images - summary.answered} of {summary.images} dropped: too fast)"
    if summary.localized:
        metres, degrees = summary.median
        text += f", median error {100 * metres:.1f} cm and {degrees:.2f}°"
    return text


def write_page(path: Path, story: Story) -> None:
    """Write the page.

    Raises:
        InputError: the file cannot be written.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    source = files("deviloc_ros.demo").joinpath("page.html").read_text(encoding="utf-8")
    by_stamp = {score.offline.stamp: score for score in story.scores}
    summary = story.summary
    page = environment.from_string(source).render(
        headline=headline(summary),
        summary=summary,
        live=summary.identical is not None,
        references=len(story.reference_map.references),
        lane_distance=story.lane_distance,
        cards=_cards(summary, story.reference_map),
        day=story.day,
        evening=story.evening,
        above=plots.from_above(story.scores, story.reference_map),
        errors=plots.errors_over_time(story.scores),
        stages=plots.stage_times(story.scores),
        pictures=[_picture(label, match, by_stamp[match.stamp]) for label, match in story.pictures],
        rows=[_row(score) for score in story.scores],
        machine=f"{os.cpu_count()} CPU cores, {_processor()}",
        notes=story.notes,
        command=story.command,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _cards(summary: Summary, reference_map: Map) -> list[dict[str, Any]]:
    share = summary.localized / summary.answered if summary.answered else 0.0
    median, p95 = summary.median, summary.p95
    cards = [
        _card(f"{100 * share:.0f} %", f"localized ({summary.localized} of {summary.answered})"),
        _card(f"{100 * median[0]:.1f} cm", f"median error, {median[1]:.2f}°"),
        _card(f"{100 * p95[0]:.1f} cm", f"95 % are better, {p95[1]:.2f}°"),
    ]
    if summary.identical is not None:
        equal = summary.identical == summary.answered
        label = "live poses equal the offline ones bit for bit"
        cards.append(_card(f"{summary.identical} / {summary.answered}", label, not equal))
    if summary.latency is not None:
        cards.append(_card(f"{1000 * summary.latency[0]:.0f} ms", "median latency, image to pose"))
    cards.append(
        _card(f"{len(reference_map.points3d):,}".replace(",", " "), "3D points in the map")
    )
    return cards


def _card(value: str, label: str, bad: bool = False) -> dict[str, Any]:
    return {"value": value, "label": label, "bad": bad}


def _picture(label: str, match: MatchPicture, score: Score) -> dict[str, Any]:
    error = score.error
    text = "" if error is None else f"Error {100 * error[0]:.1f} cm, {error[1]:.2f}°."
    return {"label": label, "match": match, "seconds": score.seconds, "error": text}


def _row(score: Score) -> dict[str, Any]:
    live, offline, error = score.live, score.offline, score.error
    result = live.status if live is not None else offline.reason or "LOCALIZED"
    identical = {True: "yes", False: "NO", None: ""}[score.identical]
    milliseconds = 1e3 * sum(offline.stage_seconds.values())
    return {
        "seconds": f"{score.seconds:.2f}",
        "result": result.replace("_", " ").lower(),
        "lost": error is None,
        "cm": "" if error is None else f"{100 * error[0]:.1f}",
        "deg": "" if error is None else f"{error[1]:.3f}",
        "sigma": "" if score.sigma is None else f"{100 * score.sigma:.1f}",
        "inliers": offline.inliers,
        "matches": offline.matches,
        "offline_ms": f"{milliseconds:.0f}",
        "live_ms": f"{1e3 * live.latency:.0f}" if live and live.latency is not None else "",
        "identical": identical,
    }


def _processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

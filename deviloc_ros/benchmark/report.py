"""The report of a run as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.benchmark.published import published_rows
from deviloc_ros.benchmark.scores import GroupScore, evaluation_text
from deviloc_ros.benchmark.types import Benchmark
from deviloc_ros.benchmark.worst import WorstCase

PICTURE_WIDTH = 800
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; margin: 1em 0 }}
th, td {{ border: 1px solid #ccc; padding: .3em .6em; text-align: left }}
th {{ background: #f4f4f4 }}
tr.published {{ color: #555; font-style: italic }}
figure {{ margin: 1em 0 }} img {{ max-width: 100% }}
</style></head><body><h1>{title}</h1>
<p>{summary}</p>{notes}
<h2>Results</h2>{scores}{published}
<h2>Queries without a pose</h2>{failures}
<h2>Time by stage</h2>{times}
<h2>Worst cases</h2>{worst}
</body></html>
"""


def write_report(
    path: Path,
    benchmark: Benchmark,
    method: str,
    scores: Sequence[GroupScore],
    totals: Mapping[str, Any],
    notes: Sequence[str],
    worst: Sequence[WorstCase],
) -> None:
    """Write the page.

    Args:
        path: the .html file.
        benchmark: what was run.
        method: name of our row.
        scores: by group, see scores.py.
        totals: of all queries, see offline/stats.py.
        notes: of this run, a sentence each.
        worst: what to look at.

    Raises:
        InputError: the file cannot be written.
    """
    page = PAGE.format(
        title=_text(f"{benchmark.title}: {method}"),
        summary=_text(f"{totals['localized']} of {totals['images']} queries have a pose."),
        notes="".join(f"<p>Note: {_text(note)}.</p>" for note in notes),
        scores=_scores(benchmark, scores),
        published=_published(benchmark, method, scores),
        failures=_failures(totals),
        times=_table(
            ("stage", "median, ms"),
            (
                (stage, f"{1000 * seconds:.1f}")
                for stage, seconds in totals["median_stage_seconds"].items()
            ),
        ),
        worst="".join(map(_figure, worst)) or "<p>None.</p>",
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _scores(benchmark: Benchmark, scores: Sequence[GroupScore]) -> str:
    limits = " / ".join(str(limit) for limit in benchmark.thresholds)
    return _table(
        ("group", "queries", "localized", f"recall at {limits}; median errors"),
        (
            (
                score.name,
                str(score.num_queries),
                str(score.num_localized),
                evaluation_text(score.evaluation, benchmark),
            )
            for score in scores
        ),
    )


def _published(benchmark: Benchmark, method: str, scores: Sequence[GroupScore]) -> str:
    """Return the published table, with our results in it where they can be computed."""
    own = {score.name: score for score in scores}
    groups = [group for group in benchmark.published if group in own]
    if not groups:
        return "<p>There is no published table for this benchmark here.</p>"
    columns = [benchmark.published[group] for group in groups]
    head = ("method", *columns)
    rows = [
        (f"{name} (published)", *results)
        for name, results in published_rows(columns)
    ]  # fmt: skip
    ours = (f"{method} (this run)", *(_recall(own[group], benchmark) for group in groups))
    return (
        "<h2>Published results</h2><p>Rows in italics are published results of others, in percent "
        "within (0.25 m, 2 deg) / (0.5 m, 5 deg) / (5 m, 10 deg). Nobody measured them here.</p>"
        + _table(head, [ours, *rows], italics=len(rows))
    )


def _recall(score: GroupScore, benchmark: Benchmark) -> str:
    if score.evaluation is None:
        return f"{score.num_localized} of {score.num_queries} have a pose; recall from the server"
    evaluation = score.evaluation
    return " / ".join(f"{100 * evaluation.recall(limit):.1f}" for limit in benchmark.thresholds)


def _failures(totals: Mapping[str, Any]) -> str:
    reasons = totals["failed_by_reason"]
    if not reasons:
        return "<p>None.</p>"
    return _table(("reason", "queries"), ((name, str(count)) for name, count in reasons.items()))


def _figure(case: WorstCase) -> str:
    picture = "<p>The image cannot be read.</p>"
    if case.picture is not None:
        alt = _text(f"Matches of {case.result.key}")
        picture = f'<img alt="{alt}" src="data:image/jpeg;base64,{_jpeg(case.picture)}">'
    caption = _text(f"{case.result.key}: {case.why}")
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _jpeg(picture: NDArray[np.uint8]) -> str:
    scale = min(1.0, PICTURE_WIDTH / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return base64.b64encode(data.tobytes()).decode("ascii")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], italics: int = 0) -> str:
    """Return a table; its last `italics` rows are those of others."""
    body = list(rows)
    lines = ["<tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in head) + "</tr>"]
    for index, row in enumerate(body):
        mark = ' class="published"' if index >= len(body) - italics else ""
        lines.append(f"<tr{mark}>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>")
    return f"<table>{''.join(lines)}</table>"


def _text(text: str) -> str:
    # Names of files that are not UTF-8 hold surrogates, which no page can.
    return html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))

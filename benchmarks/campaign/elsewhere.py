"""Images of other places, looked for in maps: every pose is false."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from accuracy import Bench
from doubt import COURTYARD, elsewhere, localizer_of, without_truth

from deviloc_ros.errors import InputError
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import PoseEstimate

MAPS = {
    "castle-P30": COURTYARD,
    "kitti-residential": frozenset({"kitti-residential"}),
    "fountain-P11": COURTYARD,
    "entry-P10": COURTYARD,
    "fox": frozenset({"fox"}),
}
"""Scenes that maps are made of, each with those that show the same place."""
PER_MAP = 200
DENSER = 3  # than benchmarks/doubt.py
RECORD = "elsewhere.jsonl"


@dataclass
class Elsewhere:
    """What came of it.

    Attributes:
        reasons: by map: how many images had no pose, by reason.
        false: image and map of every pose.
    """

    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    false: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return a Markdown table."""
        rows = ["| map | images of other places | poses | why none |", "|---|---|---|---|"]
        for name, reasons in self.reasons.items():
            poses = reasons["LOCALIZED"]
            why = ", ".join(f"{n} {r}" for r, n in reasons.most_common() if r != "LOCALIZED")
            rows.append(f"| {name} | {reasons.total()} | {poses} | {why} |")
        return "\n".join(rows)


def look_elsewhere(
    data: Path, work: Path, seconds: float, seed: int, tell: Callable[[str], object] = print
) -> Elsewhere:
    """Look for images that have no line in `work/elsewhere.jsonl` yet, until each map has PER_MAP.

    Args:
        data: that of benchmarks/accuracy.py.
        work: keeps maps and lines.
        seconds: how long at most; the next run goes on.
        seed: of the order of images within a map.
        tell: takes a line about each pose.
    """
    work.mkdir(parents=True, exist_ok=True)
    record = work / RECORD
    record.touch()
    lines = [json.loads(line) for line in record.read_text("utf-8").splitlines()]
    done = {(line["map"], line["image"]) for line in lines}
    end = time.monotonic() + seconds
    with record.open("a", encoding="utf-8") as file:
        for name, same_place in MAPS.items():
            paths = list(elsewhere(data, same_place, DENSER))
            Random(f"{seed} {name}").shuffle(paths)
            localizer: Localizer | None = None
            missing = PER_MAP - sum(line["map"] == name for line in lines)
            fresh = [path for path in paths if (name, str(path.relative_to(data))) not in done]
            for path in fresh[: max(missing, 0)]:
                image = str(path.relative_to(data))
                if time.monotonic() > end:
                    return _summary(lines)
                localizer = localizer or _localizer(data, work, name)
                answer = _answer(localizer, path)
                if answer == "LOCALIZED":
                    tell(f"false: {image} in {name}")
                lines.append({"map": name, "image": image, "answer": answer})
                file.write(json.dumps(lines[-1]) + "\n")
                file.flush()
    return _summary(lines)


def _localizer(data: Path, work: Path, name: str) -> Localizer:
    return localizer_of(Bench(data, work, []), name, data / name / "images", data / name)


def _answer(localizer: Localizer, path: Path) -> str:
    try:
        sought = without_truth(path)
    except InputError:
        return "UNREADABLE"
    result = localizer.localize(sought.image, sought.camera)
    return "LOCALIZED" if isinstance(result, PoseEstimate) else result.reason.name


def _summary(lines: list[dict[str, str]]) -> Elsewhere:
    outcome = Elsewhere()
    for line in lines:
        outcome.reasons.setdefault(line["map"], Counter())[line["answer"]] += 1
        if line["answer"] == "LOCALIZED":
            outcome.false.append(f"{line['image']} in {line['map']}")
    return outcome

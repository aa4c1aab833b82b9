"""The loop over damaged inputs: seeded, resumable, one line of a file a case."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any

import deviloc_ros
from campaign.cases import Case, Sound, Subject
from campaign.subjects import SUBJECTS
from campaign.supervised import Verdict, supervise

RECORD = "cases.jsonl"
KEPT = "faults"
INTACT_EVERY = 25
"""So many cases have an intact one among them, which has to be taken."""


def plan(count: int, subjects: Sequence[Subject] = SUBJECTS) -> list[tuple[Subject, int]]:
    """Return the cases, of every subject by its share, mixed: a part of them is of all kinds."""
    shares = sum(subject.share for subject in subjects)
    counts = {subject.name: max(1, round(count * subject.share / shares)) for subject in subjects}
    cases = [(subject, number) for subject in subjects for number in range(counts[subject.name])]
    return sorted(cases, key=lambda case: case[1] / counts[case[0].name])


def run_cases(
    work: Path,
    cases: Sequence[tuple[Subject, int]],
    seed: int,
    tell: Callable[[str], object] = print,
    again: bool = False,
) -> list[dict[str, Any]]:
    """Run the cases that have no line yet, or one of a fault, and return the lines of all.

    Args:
        work: folder for inputs, lines and the inputs of faults.
        cases: subject and number; with the seed they decide everything.
        seed: of the campaign.
        tell: takes a line about each fault.
        again: run all of them, whatever the file says.
    """
    work.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_DATA_HOME"] = str(work / "data")  # where weights would be kept
    inputs = Sound.make(work / "sound")
    _import_everything()
    done = {} if again else _done(work / RECORD, seed)
    lines = []
    with (work / RECORD).open("a", encoding="utf-8") as record:
        for subject, number in cases:
            line = done.get((subject.name, number))
            if line is None:
                verdict = run_case(work, inputs, subject, number, seed)
                line = {"subject": subject.name, "number": number, "seed": seed}
                line |= {**asdict(verdict), "said": verdict.said[:300]}
                record.write(json.dumps(line) + "\n")
                record.flush()
                if verdict.fault:
                    tell(f"{subject.name}:{number}: {verdict.fault}\n  {_last(verdict.said)}")
            lines.append(line)
    return lines


def run_case(work: Path, inputs: Sound, subject: Subject, number: int, seed: int) -> Verdict:
    """Run one case; its folder stays below `work/faults` if it shows a fault."""
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    random = Random(f"{seed} {subject.name} {number}")
    intact = number % INTACT_EVERY == 0
    action = subject.prepare(Case(folder, random, inputs, intact))
    verdict = supervise(action, folder)
    if intact and verdict.code != subject.sound_code and not verdict.fault:
        verdict = replace(verdict, fault=f"refuses what is intact: {_last(verdict.said)}")
    if verdict.fault:
        kept = work / KEPT / f"{subject.name.replace(' ', '_').replace(',', '')}_{number}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        command = action.run if isinstance(action.run, list) else "a function"
        (folder / "fault.txt").write_text(f"{command}\n{verdict.fault}\n")
        folder.rename(kept)
    return verdict


def _import_everything() -> None:
    """Import what commands import when they need it, once for all cases."""
    for found in pkgutil.walk_packages(deviloc_ros.__path__, "deviloc_ros."):
        if not found.name.startswith("deviloc_ros.ros."):
            with suppress(ImportError):
                importlib.import_module(found.name)


def _done(path: Path, seed: int) -> dict[tuple[str, int], dict[str, Any]]:
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    mine = {(line["subject"], line["number"]): line for line in lines if line["seed"] == seed}
    return {case: line for case, line in mine.items() if not line["fault"]}


def _last(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "")[:300]


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table: what came of the cases of each subject."""
    heads = ("input", "cases", "taken", "refused (2)", "nothing found (3)", "faults",
             "longest, CPU s", "most memory, MB")  # fmt: skip
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    names = list(dict.fromkeys(line["subject"] for line in lines))
    for name in [*names, "all"]:
        of = [line for line in lines if name in ("all", line["subject"])]
        sound_codes = [line["code"] for line in of if not line["fault"]]
        counts = [sound_codes.count(code) for code in (0, 2, 3)]
        longest = max(line["seconds"] for line in of)
        memory = max(line["memory"] for line in of) / 1024**2
        rows.append(
            f"| {name} | {len(of)} | {' | '.join(map(str, counts))} | {len(of) - len(sound_codes)} "
            f"| {longest:.1f} | {memory:.0f} |"
        )
    return "\n".join(rows)

"""Whether anything that people, disks or robots do to it makes it crash, hang or answer wrongly.

    ./run bench robustness [inputs] [kills] [everything] [--cases 10000] [--kills 50] [--minutes 10]
                           [--seed 0] [--work DIR]
    ./run bench robustness elsewhere --data DATA [--minutes 10] [--work DIR]
    ./run bench robustness inputs --only 'map, content:17'

inputs    damaged maps, COLMAP models, bags, messages, images, checkpoints, text and YAML files:
          each case is a process of its own that has 10 s of processor time and the memory that its
          input justifies. It has to end with exit code 0, 2 or 3, without a traceback, without
          loading a pickle or starting a program, and without half a file. Every 25th is intact.
kills     a map is built from images alone; builds are killed (SIGKILL) at random moments, and the
          same command has to go on to the same map, byte for byte.
everything
          the real node over DDS, and all at once: 1920x1080 colour at 30 Hz, a slow reader, maps
          exchanged, parameters changed, pauses, jumps of simulated time. Every image has to be
          accounted for, every service has to answer, and memory must not grow after a minute.
elsewhere images of other places are looked for in maps of five scenes of DATA, which is that of
          benchmarks/accuracy.py: every pose is false. It stops after --minutes.

A run goes on where it was stopped if --work names the same folder, everything aside, and does
again what showed a fault. Damaged inputs that did stay in DIR/inputs/faults.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

# Forks have no threads but the one that forked: libraries must not have started theirs.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"})

from campaign.inputs import plan, run_cases, table
from campaign.kills import kill_builds
from campaign.subjects import SUBJECTS


def damaged_inputs(work: Path, args: argparse.Namespace) -> bool:
    """Run the section and print its table; return whether all is well."""
    cases = plan(args.cases)
    if args.only:
        name, _, number = args.only.rpartition(":")
        subjects = [subject for subject in SUBJECTS if subject.name == name]
        cases = [(subject, int(number)) for subject in subjects]
    lines = run_cases(work / "inputs", cases, args.seed, again=bool(args.only))
    print(table(lines))
    faults = Counter(line["fault"] for line in lines if line["fault"])
    for fault, count in faults.most_common():
        print(f"{count:5} {fault}")
    return not faults


def killed_builds(work: Path, args: argparse.Namespace) -> bool:
    """Run the section and print what came of it."""
    outcome = kill_builds(work / "kills", args.kills, args.seed)
    print(outcome)
    return not outcome.faults


def everything_at_once(work: Path, args: argparse.Namespace) -> bool:
    """Run the section and print its figures and faults."""
    # It starts threads: the other sections, which fork, come before it.
    from node_load.everything import run_everything

    outcome = run_everything(work / "everything", args.minutes, args.seed)
    for name, value in outcome.figures.items():
        print(f"{name:<50}{value}")
    for fault in outcome.faults:
        print(f"fault: {fault}")
    return not outcome.faults


def other_places(work: Path, args: argparse.Namespace) -> bool:
    """Run the section and print its table and false poses."""
    from campaign.elsewhere import look_elsewhere  # it starts threads, too

    if args.data is None:
        print("left out: elsewhere (it needs --data)")
        return True
    outcome = look_elsewhere(args.data, work / "elsewhere", 60 * args.minutes, args.seed)
    print(outcome.table())
    for fault in outcome.false:
        print(f"false: {fault}")
    return not outcome.false


SECTIONS = {
    "inputs": damaged_inputs,
    "kills": killed_builds,
    "everything": everything_at_once,
    "elsewhere": other_places,
}


def main() -> int:
    sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--cases", type=int, default=10_000, help="damaged inputs")
    parser.add_argument("--kills", type=int, default=50, help="builds to kill")
    parser.add_argument("--minutes", type=float, default=10, help="of everything, or elsewhere")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="scenes, for elsewhere")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="one damaged input")
    parser.add_argument("--work", type=Path, help="folder that lets a run go on")
    args = parser.parse_args()
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="deviloc-robustness-") as temporary:
        work = args.work or Path(temporary)
        well = [
            run(work.absolute(), args)
            for name, run in SECTIONS.items()
            if name in (args.sections or SECTIONS)
        ]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())

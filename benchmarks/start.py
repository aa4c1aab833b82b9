"""How long a localizer takes from the start of its process until it is ready, and what it holds.

    ./run bench start MAP [--rounds N] [--set KEY=VALUE]

Each round starts a process with an empty cache of networks, and one that finds what the first one
kept. Printed are medians: seconds of imports, of loading and warming up, of both, CPU-seconds, and
memory, when it is ready and at most.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from shared.process_memory import peak_bytes, resident_bytes

COLUMNS = ("imports", "load", "together", "CPU", "memory", "at most")


def start(place: Path, settings: list[str]) -> list[float]:
    """Load a localizer in this process; return what that took, see COLUMNS."""
    begin = time.perf_counter()
    from deviloc_ros.config import LocalizerConfig, load
    from deviloc_ros.localization import Localizer

    imported = time.perf_counter()
    localizer = Localizer.load(place, load(LocalizerConfig, None, settings))
    ready = time.perf_counter()
    assert localizer.map.references
    return [
        imported - begin, ready - imported, ready - begin, time.process_time(),
        resident_bytes() / 1e9, peak_bytes() / 1e9,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("map", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(start(args.map, args.set)))
        return
    settings = [part for setting in args.set for part in ("--set", setting)]
    command = [sys.executable, __file__, str(args.map), "--once", *settings]
    taken: dict[str, list[list[float]]] = {"first start": [], "later start": []}
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as cache:
            for which in taken:
                environment = {**os.environ, "XDG_CACHE_HOME": cache}
                run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
                taken[which].append(json.loads(run.stdout))
    print(f"| | {' | '.join(COLUMNS)} |\n{'|---' * (len(COLUMNS) + 1)}|")
    for which, rows in taken.items():
        *seconds, memory, most = np.median(rows, axis=0)
        cells = [*(f"{value:.2f} s" for value in seconds), f"{memory:.2f} GB", f"{most:.2f} GB"]
        print(f"| {which} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

"""What benchmarks/pin.py has measured so far, as its files in the work folder tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lifting.lifts import LIFTS
from lifting.maps import BLOCKS
from lifting.queries import CONDITIONS, PLAIN
from lifting.sift import SIFT
from lifting.tables import Result

METHODS = [*LIFTS, SIFT]


def read_results(work: Path) -> Sequence[Result]:
    """Return everything that is there, in the order of tables; scenes by name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in work.glob("*.json")]
    results = [_result(content) for content in found if "condition" in content]
    return sorted(results, key=_place)


def _result(content: Mapping[str, Any]) -> Result:
    condition, variant = content["condition"], content["variant"]
    return Result(
        block="queries" if condition != PLAIN else _block_of(variant),
        scene=content["scene"],
        variant=variant if condition == PLAIN else condition,
        method=content["method"],
        errors=np.array(content["errors"], dtype=np.float64).reshape(-1, 2),
        hidden=content.get("hidden"),
        sensor=content.get("sensor"),
    )


def _block_of(variant: str) -> str:
    for block, variants in BLOCKS.items():
        if variant in map(str, variants):
            return block
    raise ValueError(f"{variant}: not measured by this program")


def _place(result: Result) -> tuple[int, str, int, int]:
    order = list(CONDITIONS)
    if result.block != "queries":
        order = [str(variant) for variant in BLOCKS[result.block]]
    block = list(BLOCKS).index(result.block)
    return block, result.scene, order.index(result.variant), METHODS.index(result.method)

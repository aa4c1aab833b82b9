"""Pair files as hloc writes them: "query reference" a line, the best reference of a query first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deviloc_ros.datasets.lines import read_lines
from deviloc_ros.errors import InputError

PAIR_LINE = "query reference"


def read_pairs(path: Path) -> Mapping[str, Sequence[str]]:
    """Return the references of every query, in the order of the file.

    Raises:
        InputError: the file cannot be read, holds no pair, or a line is not two names.
    """
    pairs: dict[str, list[str]] = {}
    for place, text in read_lines(path):
        fields = text.split()
        if len(fields) != 2:
            raise InputError(f"{place}: expected '{PAIR_LINE}', got {len(fields)} fields")
        pairs.setdefault(fields[0], []).append(fields[1])
    if not pairs:
        raise InputError(f"{path}: holds no pair; expected lines '{PAIR_LINE}'")
    return pairs

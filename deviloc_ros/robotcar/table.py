"""Comma-separated files with a header line, as RobotCar's poses come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from deviloc_ros.datasets.lines import read_lines
from deviloc_ros.errors import InputError

NANOSECONDS_PER_MICROSECOND = 1000
MAX_MICROSECONDS = 9_000_000_000_000_000


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield ("file:number", fields) of every row: the fields of the named columns, in that order.

    Raises:
        InputError: the file cannot be read, its header lacks a column, or a row has another
            number of fields than the header.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise InputError(f"{path}: is empty; expected a header with {','.join(columns)}")
    header = [name.strip() for name in first[1].split(",")]
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(f"{first[0]}: the header lacks {', '.join(missing)}; it is {first[1]!r}")
    chosen = [header.index(name) for name in columns]
    for place, text in lines:
        fields = [field.strip() for field in text.split(",")]
        if len(fields) != len(header):
            raise InputError(
                f"{place}: {len(fields)} fields, the header names {len(header)}; is it cut short?"
            )
        yield place, [fields[index] for index in chosen]


def nanoseconds(place: str, text: str) -> int:
    """Read a time stamp of microseconds since 1970, as RobotCar's are.

    Raises:
        InputError: it is none.
    """
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < MAX_MICROSECONDS:
        raise InputError(f"{place}: {text!r} is not a time stamp in microseconds since 1970")
    return int(text) * NANOSECONDS_PER_MICROSECOND

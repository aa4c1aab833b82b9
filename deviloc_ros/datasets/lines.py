"""Text files with one record a line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from deviloc_ros.errors import InputError

MAX_BYTES = 1_000_000_000


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ("file:number", text) of every line that is neither empty nor a # comment.

    Raises:
        InputError: the file cannot be read, is not text, or is unreasonably large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: is larger than {MAX_BYTES} bytes; is it the right file?")
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file (UTF-8)") from None
    for number, line in enumerate(content.split("\n"), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield f"{path}:{number}", text


def split_name(place: str, text: str, count: int, expected: str) -> tuple[str, list[float]]:
    """Split "name number ..." with `count` numbers; the name may hold spaces.

    Raises:
        InputError: another number of fields, or a field that is no finite number.
    """
    fields = text.rsplit(maxsplit=count)
    if len(fields) != count + 1:
        raise InputError(f"{place}: expected '{expected}', got {len(text.split())} fields")
    return fields[0], numbers(place, fields[1:], expected)


def numbers(place: str, fields: Sequence[str], expected: str) -> list[float]:
    """Convert fields to finite numbers.

    Raises:
        InputError: a field that is none.
    """
    values = []
    for field in fields:
        try:
            value = float(field)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{place}: {field!r} is not a finite number; expected '{expected}'")
        values.append(value)
    return values

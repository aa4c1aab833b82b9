"""Sound inputs made unsound: bytes, text, values in trees and fields of messages."""

from __future__ import annotations

import copy
import math
import pickle
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

WIDTHS = ("B", "H", "I", "Q")
TOKENS = (
    "nan", "inf", "-inf", "1e999", "1e308", "-1e308", "1e-320", "0", "-0", "-1", "1e99999999",
    "0x10", "1_0", "１", "²", "9" * 30, "9" * 5000, "4294967296", "9223372036854775807",
    "18446744073709551616", "true", "null", "~", "", "'", '"', "\0", "#", "%s", "{}", "\\", "..",
    "/", "../../x", "a b", "é", "\U0001f600", "x" * 70_000, "*a", "&a", "!!python/name:os.system",
    "!!python/object/apply:os.system [true]", "2001-99-99", "<<: 1", "\u2028", "\t", "-", ",", "=",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**400, 0.0, -0.0, 1e308, -1e308,
    5e-324, math.nan, math.inf, -math.inf, "", "x", "\0", "nan", "x" * 70_000, "../../x", "é", [],
    {}, [[]], [None], [math.nan] * 3, {"": {}}, {"a": {"b": {"c": 1}}}, [0] * 5000, "\ud800",
)  # fmt: skip
FLOATS = (math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, -0.0, -1.0, 1e-9, 1e12)
STRINGS = ("", "\0", "x" * 70_000, "a b", "/", "//", "../..", "é\U0001f600", "%s", "mono8", "map")


class _Touch:
    """Pickled, it makes a file wherever it is unpickled."""

    def __init__(self, path: Path) -> None:
        """Take the file to make."""
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what unpickling calls."""
        return open, (str(self._path), "w")


def bomb(canary: Path) -> bytes:
    """Return a pickle that makes the file `canary` if anybody loads it."""
    return pickle.dumps(_Touch(canary), protocol=2)


def mutate_bytes(content: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """Return the content with one to six things changed; seldom the same."""
    if random.random() < 0.03:
        return random.choice((b"", b"\0" * len(content), random.randbytes(200), content[:1]))
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        _mutate_once(data, random, others)
    return bytes(data)


def _mutate_once(data: bytearray, random: Random, others: Sequence[bytes]) -> None:
    size = len(data)
    # Headers and counts lie in front, directories of archives at the end.
    place = random.choice((random.randint(0, size), random.randint(0, min(size, 200)), size // 2))
    if random.random() < 0.1:
        place = max(0, size - random.randint(1, 200))
    length = min(size - place, int(2 ** random.uniform(0, 12)))
    kind = random.randrange(10)
    if kind == 0 and place < size:
        data[place] ^= 1 << random.randrange(8)
    elif kind == 1 and place < size:
        data[place] = random.randrange(256)
    elif kind in (2, 3):
        layout = random.choice("<>") + random.choice(WIDTHS)
        width = struct.calcsize(layout)
        top = 2 ** (8 * width)
        number = random.choice((0, 1, top - 1, top // 2, top // 2 - 1, random.randrange(top)))
        if place + width <= size:
            data[place : place + width] = struct.pack(layout, number)
    elif kind == 4:
        del data[place:]
    elif kind == 5:
        del data[place : place + length]
    elif kind == 6:
        data[place:place] = data[place : place + length] * random.choice((1, 1, 2, 50))
    elif kind == 7:
        data[place : place + length] = bytes(length)
    elif kind == 8:
        data[place:place] = random.randbytes(random.choice((1, 4, 8, 100, 5000)))
    elif others:
        other = random.choice(others)
        start = random.randint(0, len(other))
        data[place : place + length] = other[start : start + length]


def mutate_text(content: bytes, random: Random, others: Sequence[bytes] = ()) -> bytes:
    """Return a text with words and lines changed."""
    if random.random() < 0.15:
        return mutate_bytes(content, random, others)
    text = content.decode("utf-8", "surrogateescape")
    for _ in range(random.choice((1, 1, 2, 4))):
        text = _mutate_text_once(text, random)
    encoded = text.encode(random.choice(("utf-8",) * 20 + ("utf-16", "latin-1")), "replace")
    if random.random() < 0.05:
        encoded = b"\xef\xbb\xbf" + encoded.replace(b"\n", b"\r\n")
    return encoded


def _mutate_text_once(text: str, random: Random) -> str:
    kind = random.randrange(8)
    if kind <= 4 and (words := list(re.finditer(r"[^\s:,\[\]{}]+", text))):
        word = random.choice(words)
        new = random.choice(TOKENS)
        if kind == 4:
            new = random.choice(("", word[0] * 2, f"{word[0]} {word[0]}", f"-{word[0]}"))
        return text[: word.start()] + new + text[word.end() :]
    lines = text.split("\n")
    line = random.randrange(len(lines))
    if kind == 5:
        del lines[line]
    elif kind == 6:
        lines[line:line] = [lines[line]] * random.choice((1, 1, 2000))
    else:
        other = random.randrange(len(lines))
        lines[line], lines[other] = lines[other], lines[line]
    return "\n".join(lines)


def mutate_tree(tree: Any, random: Random) -> Any:
    """Return a copy of nested dicts and lists with values, keys or lengths changed."""
    tree = copy.deepcopy(tree)
    levels_left = 210
    for _ in range(random.choice((1, 1, 2, 4))):
        holders = list(_holders(tree))
        if not holders:
            return random.choice(VALUES)
        holder = random.choice(holders)
        key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        kind = random.randrange(8)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[random.choice((*holder, "x", ""))] = random.choice(VALUES)
        elif kind == 1:
            holder *= random.choice((2, 300))
        elif kind == 2:
            deep: Any = holder[key]
            levels = random.choice((1, 3, 200))
            # Once is enough: what writes the tree has its own limit.
            for _ in range(min(levels, levels_left)):
                deep = [deep]
            levels_left -= min(levels, levels_left)
            holder[key] = deep
        elif isinstance(holder[key], str) and kind == 3:
            holder[key] = mutate_text(holder[key].encode("utf-8", "replace"), random).decode(
                "utf-8", "replace"
            )
        else:
            holder[key] = random.choice(VALUES)
    return tree


def _holders(tree: Any) -> Iterator[Any]:
    """Yield every dict and list in a tree that is not empty, each before those in it."""
    left = [tree]
    while left:
        item = left.pop()
        if isinstance(item, dict | list) and item:
            yield item
            inside = list(item.values() if isinstance(item, dict) else item)
            left += reversed(inside)


def mutate_array(array: np.ndarray[Any, Any], random: Random) -> np.ndarray[Any, Any]:
    """Return an array with wrong values, or of another shape or type."""
    array = array.copy()
    kind = random.randrange(6)
    if kind <= 2 and array.size:
        flat = array.reshape(-1)
        begin = random.randrange(flat.size)
        # The first and the last are those of offsets that everything else hangs on.
        part = random.choice(
            (slice(None), slice(begin, begin + 1), slice(begin, None), slice(-1, None), slice(0, 1))
        )
        with np.errstate(all="ignore"):
            if array.dtype.kind == "f":
                flat[part] = random.choice(FLOATS)
            elif array.dtype.kind in "iu":
                limits = np.iinfo(array.dtype)
                flat[part] = random.choice((0, limits.min, limits.max, limits.max // 2, 1))
            else:
                flat[part] = ~flat[part]
    elif kind == 3:
        array = array[: random.choice((0, max(len(array) - 1, 0), len(array) // 2))]
    elif kind == 4:
        array = random.choice((array.reshape(-1), array[None], np.concatenate([array, array])))
    else:
        other = random.choice(("f2", "f4", "f8", "i4", "i8", "u1", "?"))
        with np.errstate(all="ignore"):
            array = array.astype(other)
    return np.ascontiguousarray(array)


def mutate_message(message: Any, random: Random) -> None:
    """Change one to four fields of a ROS message in place, each to a value that can be sent."""
    for _ in range(random.choice((1, 1, 2, 4))):
        fields = [item for item in _fields(message) if item[1] != "__msgtype__"]
        if fields:
            holder, name = random.choice(fields)
            setattr(holder, name, _value(getattr(holder, name), random))


def _fields(message: Any) -> Any:
    for name in getattr(message, "__dataclass_fields__", ()):
        value = getattr(message, name)
        if hasattr(value, "__dataclass_fields__"):
            yield from _fields(value)
        else:
            yield message, name
        if isinstance(value, list):
            for item in value:
                yield from _fields(item)


def _value(old: Any, random: Random) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return (
            random.choice((0, 1, 255, old + 1, max(old - 1, 0), old * 2)) % 256
            if (0 <= old < 256 and random.random() < 0.5)
            else random.choice((0, 1, old + 1, 2**31 - 1, 100_000))
        )
    if isinstance(old, float):
        return random.choice(FLOATS)
    if isinstance(old, str):
        return random.choice((*STRINGS, old.upper(), old + "x"))
    if isinstance(old, np.ndarray) and old.size:
        new = old.copy()
        if new.dtype.kind == "f":
            new[random.randrange(new.size) :: random.choice((1, 100))] = random.choice(FLOATS)
        # Lengths of arrays are fixed in many types: those that are not, such as images, change too.
        if new.size not in (9, 12, 36, 3, 4) and random.random() < 0.5:
            new = random.choice(
                (new[:0], new[:-1], np.concatenate([new, new]), new[: new.size // 2])
            )
        return new
    if isinstance(old, list) and old:
        return random.choice(([], old * 2, old[:-1], old * 500))
    return old

"""The map file: named arrays and a description, in safetensors' format, checked when opened.

Layout (docs/map-format.md): 8 bytes little-endian header length, a JSON header with each array's
type, shape and place, then the arrays. Our description is JSON in the header's `__metadata__`.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.maps.opened_file import OpenedFile, resident_limit

FORMAT = "deviloc_map"
TILES = "deviloc_map_tiles"
VERSION = 3
MAX_HEADER_BYTES = 100_000_000
HEADER_LENGTH_BYTES = 8
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip


def write(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    description: Mapping[str, Any],
    kind: str = FORMAT,
) -> None:
    """Write a map file, whole or not at all.

    Args:
        path: the file.
        arrays: name to array.
        description: JSON-serialisable.
        kind: what the file calls its format.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {
        "format": kind,
        "version": str(VERSION),
        "description": json.dumps(description, allow_nan=False),
        "checksums": json.dumps({name: _checksum(array) for name, array in contiguous.items()}),
    }
    metadata["description_checksum"] = str(zlib.crc32(metadata["description"].encode()))
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata=metadata)
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Put the description's parts in order: the library writes them in another one every time.

    The header keeps its length, and the arrays their places.
    """
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size, "the library writes JSON without spaces, too"
        file.seek(8)
        file.write(text.ljust(size))


def kind_of(path: Path) -> str:
    """Return what a file calls its format, such as FORMAT.

    Raises:
        InputError: it is no such file at all.
    """
    header, _ = _header(OpenedFile(path))
    metadata = header.get("__metadata__")
    return str(metadata.get("format")) if isinstance(metadata, dict) else ""


@dataclass(frozen=True)
class Content:
    """What a map file holds.

    Attributes:
        arrays: by name; not to be written to.
        description: as it was written.
        file: tells later whether the file is still the same.
    """

    arrays: dict[str, NDArray[Any]]
    description: dict[str, Any]
    file: OpenedFile


def read(
    path: Path, verify: bool = True, kind: str = FORMAT, resident: int | None = None
) -> Content:
    """Open a map file.

    Args:
        path: the file.
        verify: compare every array with its checksum, which reads the whole file once.
        kind: the format it must be of.
        resident: up to this size its arrays are read into memory, bytes; larger files are mapped.
            None: as much as this computer can spare, see `resident_limit`.

    Raises:
        InputError: not a map, damaged, cut short, or of a newer version.
    """
    file = OpenedFile(path, resident_limit() if resident is None else resident)
    header, start = _header(file)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or metadata.get("format") != kind:
        if kind == FORMAT and isinstance(metadata, dict) and metadata.get("format") == TILES:
            raise InputError(
                f"{path}: is made of tiles; change the tiles, then 'deviloc map tile' again"
            )
        if kind == TILES:
            raise InputError(f"{path}: is not an index of tiles; 'deviloc map tile' makes one")
        raise InputError(f"{path}: is not a map of deviloc; make one with 'deviloc map build'")
    version = str(metadata.get("version"))
    if not version.isascii() or not version.isdecimal() or len(version) > 9:
        raise _damaged(path, f"its version is {version[:20]!r}")
    if int(version) > VERSION:
        raise InputError(
            f"{path}: map version {version} is newer than this program's ({VERSION}); "
            "update deviloc_ros or build the map again"
        )
    try:
        description_text = metadata["description"]
        if str(zlib.crc32(description_text.encode())) != metadata["description_checksum"]:
            raise _damaged(path, "its description does not match its checksum")
        description = _parse_long(description_text)
        checksums: dict[str, int] = json.loads(metadata["checksums"])
    except (KeyError, AttributeError, json.JSONDecodeError, RecursionError):
        raise _damaged(path, "its description cannot be read") from None
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        arrays[name] = _read_array(file, name, entry, start)
        if verify and _checksum(arrays[name]) != checksums.get(name):
            raise _damaged(path, f"array {name} does not match its checksum")
        begin, end = entry["data_offsets"]
        file.remember(start + begin, end - begin, checksums.get(name, 0))
    if set(arrays) != set(checksums):
        raise _damaged(path, "arrays are missing")
    return Content(arrays, description, file)


def _parse_long(text: str) -> dict[str, Any]:
    """Parse a description without keeping other threads from running, such as one that ends all.

    json's scanner is one call into C, seconds of it for a large map on a busy machine. A hook has
    the interpreter look up at each object, of which every reference is one.
    """
    parsed: dict[str, Any] = json.loads(text, object_hook=lambda found: found)
    return parsed


def _header(file: OpenedFile) -> tuple[dict[str, Any], int]:
    """Return the JSON header and where the arrays begin."""
    path = file.path
    try:
        length = int.from_bytes(file.read(0, HEADER_LENGTH_BYTES), "little")
        if file.size < HEADER_LENGTH_BYTES + 2 or length > min(MAX_HEADER_BYTES, file.size):
            raise InputError(
                f"{path}: is not a map of deviloc, or cut short; make one with 'deviloc map build'"
            )
        header = json.loads(file.read(HEADER_LENGTH_BYTES, length))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise InputError(f"{path}: is not a map of deviloc; its header is no JSON") from None
    if not isinstance(header, dict):
        raise InputError(f"{path}: is not a map of deviloc; its header is no JSON object")
    return header, HEADER_LENGTH_BYTES + length


def _read_array(file: OpenedFile, name: str, entry: Any, start: int) -> NDArray[Any]:
    path, size = file.path, file.size
    try:
        dtype = np.dtype(DTYPES[entry["dtype"]])
        shape = tuple(int(side) for side in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, f"array {name} is not described soundly") from None
    expected = dtype.itemsize * int(np.prod(shape, dtype=object))
    if begin < 0 or end - begin != expected or any(side < 0 for side in shape):
        raise _damaged(path, f"array {name} has another size than its shape says")
    if start + end > size:
        raise _damaged(path, f"it is cut short: array {name} ends at byte {start + end} of {size}")
    if expected == 0:
        return np.zeros(shape, dtype)
    return file.array(dtype, shape, start + begin)


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path}: the map is damaged: {why}; build or copy it again")


def rows(path: Path) -> dict[str, int]:
    """Return how many rows each array of a map has; the arrays themselves are not read.

    Raises:
        InputError: not a map, or damaged.
    """
    header, _ = _header(OpenedFile(path))
    header.pop("__metadata__", None)
    try:
        return {name: int(entry["shape"][0]) for name, entry in header.items()}
    except (KeyError, TypeError, ValueError, IndexError):
        raise _damaged(path, "its arrays are not described soundly") from None


def map_id(path: Path) -> str:
    """Return 16 hex digits that name a map's content, in whatever order a file holds it.

    They are a hash of the description and of every array's name, type, shape and checksum; the
    arrays themselves are not read.

    Raises:
        InputError: not a map, or damaged.
    """
    header, _ = _header(OpenedFile(path))
    try:
        metadata = header.pop("__metadata__")
        content = {
            "description": json.loads(metadata["description"]),
            "checksums": json.loads(metadata["checksums"]),
            "arrays": {name: [entry["dtype"], entry["shape"]] for name, entry in header.items()},
        }
    except (KeyError, TypeError, json.JSONDecodeError, RecursionError):
        raise _damaged(path, "its description cannot be read") from None
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""HDF5 files of hloc: global descriptors to retrieve with, matches to look at.

h5py is optional: only who asks for such a file needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deviloc_ros.errors import InputError

DESCRIPTOR = "global_descriptor"
MAX_DESCRIPTOR_SIZE = 1_000_000
NEEDED = "HDF5 files need h5py: pip install h5py"


def rank_by_descriptors(
    path: Path, queries: Sequence[str], references: Sequence[str], count: int
) -> Mapping[str, Sequence[str]]:
    """Rank references by the inner product of global descriptors, as hloc's retrieval does.

    Args:
        path: the file: for every image, by name, a group with the dataset `global_descriptor`.
        queries: names; those that the file lacks are not in the result.
        references: names; those that the file lacks are passed over.
        count: references for each query.

    Raises:
        InputError: h5py is missing, the file cannot be read, a descriptor is none or of another
            length, or no query or no reference is in the file.
    """
    with _opened(path, "r") as file:
        of_queries = _descriptors(path, file, queries)
        of_references = _descriptors(path, file, references)
    for names, found, what in (
        (queries, of_queries, "queries"),
        (references, of_references, "references"),
    ):
        if not found:
            raise InputError(
                f"{path}: has no descriptor of {len(names)} {what}, such as {names[0]}"
            )
    sizes = {len(item) for item in (*of_queries.values(), *of_references.values())}
    if len(sizes) > 1:
        raise InputError(f"{path}: its descriptors have different lengths: {sorted(sizes)}")
    known = list(of_references)
    matrix = np.stack(list(of_references.values()))
    ranked = {}
    for name, descriptor in of_queries.items():
        order = np.argsort(-(matrix @ descriptor), kind="stable")[:count]
        ranked[name] = [known[index] for index in order]
    return ranked


def check_hdf5(path: Path | None = None) -> None:
    """Refuse what could not be read or written later.

    Raises:
        InputError: h5py is missing, or the file cannot be read.
    """
    if path is not None:
        with _opened(path, "r"):
            return
    _h5py()


class MatchFile:
    """2D-3D matches by query: (N, 6) float64, u, v in pixels, X, Y, Z of the map, confidence."""

    def __init__(self, path: Path) -> None:
        """Name the file; it is opened for each write, so that it is whole in between.

        Raises:
            InputError: h5py is missing, or the file is there and cannot be read.
        """
        self.path = path
        with _opened(path, "a"):
            pass

    def names(self, wanted: Collection[str]) -> set[str]:
        """Return those of some queries that the file has matches of."""
        with _opened(self.path, "r") as file:
            return {name for name in wanted if name in file}

    def write(self, name: str, pixels: ArrayLike, points: ArrayLike, confidence: ArrayLike) -> None:
        """Write the matches of a query, (N, 2), (N, 3) and (N,), over older ones."""
        columns = [np.reshape(pixels, (-1, 2)), np.reshape(points, (-1, 3))]
        matches = np.hstack([*columns, np.reshape(confidence, (-1, 1))])
        with _opened(self.path, "a") as file:
            if name in file:
                del file[name]
            file.create_dataset(name, data=matches.astype(np.float64))


def _descriptors(path: Path, file: Any, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return the descriptors of those images that the file has."""
    found = {}
    for name in names:
        if f"{name}/{DESCRIPTOR}" not in file:
            continue
        data = file[f"{name}/{DESCRIPTOR}"]
        shape = getattr(data, "shape", None)
        if shape is None or data.dtype.kind != "f" or not 0 < data.size <= MAX_DESCRIPTOR_SIZE:
            raise InputError(f"{path}: {name}/{DESCRIPTOR} is no vector of floating-point numbers")
        descriptor = np.asarray(data[()], dtype=np.float64).ravel()
        if not np.isfinite(descriptor).all():
            raise InputError(f"{path}: {name}/{DESCRIPTOR} has numbers that are not finite")
        found[name] = descriptor
    return found


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise InputError(NEEDED) from None


@contextmanager
def _opened(path: Path, mode: Literal["r", "a"]) -> Iterator[Any]:
    h5py = _h5py()
    if mode == "r" and not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        file = h5py.File(path, mode)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as HDF5 ({reason})") from None
    with file:
        yield file

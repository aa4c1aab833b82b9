"""What tests must leave as it was: the checkout, and the packages of their environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

NOT_OURS = {
    ".git", "__pycache__", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache"
}  # fmt: skip
"""Folders that git, Python and the tools keep for themselves."""

Snapshot = Mapping[str, object]


def snapshot(checkout: Path) -> Snapshot:
    """Return what there is: size and time of every file, version and place of every package."""
    found: dict[str, object] = {}
    for path in _files(checkout):
        try:
            state = path.lstat()
        except FileNotFoundError:  # of a run beside this one
            continue
        found[str(path.relative_to(checkout))] = (state.st_size, state.st_mtime_ns)
    for package in distributions():
        # The file that pip writes anew at every installation, of which a checkout's own egg-info
        # has none.
        record = package.locate_file(
            f"{package.name.replace('-', '_')}-{package.version}.dist-info"
        )
        stamp = os.stat(str(record)).st_mtime_ns if os.path.exists(str(record)) else 0
        found[f"package {package.name}"] = (package.version, str(record), stamp)
    return found


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Return what became of files and packages that are not as they were, sorted."""
    words = {(True, False): "is gone", (False, True): "is new", (True, True): "was changed"}
    return [
        f"{name} {words[name in before, name in after]}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in NOT_OURS and not (Path(place, name) / "pyvenv.cfg").exists()
        ]
        yield from (Path(place, name) for name in names)

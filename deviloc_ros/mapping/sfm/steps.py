"""Long steps of COLMAP: with room on the disk, ended by Ctrl-C, and kept piece by piece."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

import pycolmap
from tqdm import tqdm

from deviloc_ros.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

MIN_FREE_BYTES = 50_000_000
"""What a step of COLMAP may write, several times over."""


def check_space(folder: Path) -> None:
    """Refuse to begin a step of COLMAP that may fill the disk, for COLMAP then aborts the process.

    Raises:
        InputError: there is too little space.
    """
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise InputError(
            f"{folder}: No space left: {free / 1e6:.1f} MB on its disk, at least "
            f"{MIN_FREE_BYTES / 1e6:.0f} MB are needed to go on; free some and repeat the command"
        )


def cancellable(step: Callable[..., Result], *args: Any, **options: Any) -> Result:
    """Run a step of COLMAP in a thread, so that Ctrl-C reaches this one and cancels the step."""
    token = pycolmap.CancellationToken()
    with ThreadPoolExecutor(1, "colmap") as pool:
        future = pool.submit(step, *args, **options, cancellation_token=token)
        try:
            while not future.done():
                wait([future], timeout=0.2)
        except BaseException:
            token.cancel()
            raise
        return future.result()


def in_steps(items: Sequence[Item], size: int, title: str, unit: str) -> Iterator[list[Item]]:
    """Yield the items in steps, each of which is kept if a later one is interrupted."""
    with tqdm(total=len(items), desc=title, unit=unit, disable=None) as bar:
        for start in range(0, len(items), size):
            chunk = list(items[start : start + size])
            yield chunk
            bar.update(len(chunk))

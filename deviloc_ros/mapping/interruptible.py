"""Long steps of COLMAP that Ctrl-C can end, and work in steps that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import pycolmap
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


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

"""One interface for work on many items: each goes through the same function.

`ThisProcess` is what is used unless workers are asked for; `RayWorkers` has processes on this
machine or on those of a Ray cluster. What they are given must be picklable, and may name files only
by absolute paths that every machine has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")
# Makes the function that items go through: loads networks, opens a map. Each worker calls it once.
Prepare = Callable[[], Callable[[Item], Result]]


class Workers(Protocol):
    """Maps a function over items."""

    def map(
        self, prepare: Prepare[Item, Result], items: Sequence[Item], title: str | None
    ) -> Iterator[Result]:
        """Yield the result of every item, each an image or about one, in their order.

        Items need not be done when the iterator is left early.

        Args:
            prepare: makes the function.
            items: what it is called with.
            title: of the progress line; None: the caller shows progress.

        Raises:
            InputError: a worker raised it, or was lost again and again.
        """
        ...


class ThisProcess:
    """Does one item after the other, when its result is asked for."""

    def map(
        self, prepare: Prepare[Item, Result], items: Sequence[Item], title: str | None
    ) -> Iterator[Result]:
        """See Workers."""
        if items:
            function = prepare()
            for item in progress(items, title):
                yield function(item)


THIS_PROCESS = ThisProcess()


def progress(items: Sequence[Item], title: str | None) -> tqdm[Item]:
    """Return a progress line, which may be iterated over; none without a title."""
    return tqdm(items, desc=title, unit="image", disable=None if title else True)


@contextmanager
def open_workers(address: str | None) -> Iterator[Workers]:
    """Yield the workers that `--workers` names, and let go of them at the end.

    Args:
        address: None: this process; a number: so many processes on this machine; else where a Ray
            cluster is, such as HOST:6379, or `auto` on one of its machines.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    if address is None:
        yield THIS_PROCESS
        return
    from deviloc_ros.cluster.ray_workers import RayWorkers

    workers = RayWorkers(address)
    try:
        yield workers
    finally:
        workers.close()

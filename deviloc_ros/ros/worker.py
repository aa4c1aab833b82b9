"""One thread that always works on the newest item; what it could not get to is dropped, counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestItemWorker(Generic[Item]):
    """A one-slot mailbox and the thread that empties it.

    A queue would only make poses older: a robot wants the pose of the newest image.

    Args:
        process: called in the worker's thread, one item at a time; it must not raise.
        name: of the thread.
    """

    def __init__(self, process: Callable[[Item], None], name: str) -> None:
        """Start the thread."""
        self._process = process
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many items wait for their turn: 0 or 1."""
        return int(self._item is not None)

    def submit(self, item: Item) -> bool:
        """Leave an item for the worker; return whether one that waited there was dropped for it.

        Never blocks.
        """
        with self._changed:
            replaced = self._item is not None
            self._item = item
            self._changed.notify()
            return replaced

    def stop(self) -> None:
        """End the thread after the item in hand and wait for it; a waiting item is dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._item is not None)
                if self._stopping:
                    return
                item, self._item = self._item, None
            assert item is not None
            self._process(item)

"""What people are told once, however often it happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

MOST = 100
"""Subjects that are told of at most: names that never repeat must not fill memory or log."""


class ToldOnce:
    """Tells of each subject once, until `forget`; safe to use from any thread.

    Args:
        say: takes one line for people. A logger of rclpy takes one severity from one line of code,
            so give a lambda that calls it, not its method.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        """Begin with nothing told."""
        self._say = say
        self._lock = threading.Lock()
        self._told: set[Hashable] = set()

    def tell(self, subject: Hashable, text: str) -> None:
        """Say the text, unless something was said of the same subject."""
        with self._lock:
            if subject in self._told or len(self._told) >= MOST:
                return
            self._told.add(subject)
        self._say(text)

    def forget(self) -> None:
        """Tell of everything anew."""
        with self._lock:
            self._told.clear()

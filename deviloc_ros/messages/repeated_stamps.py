"""Images that share a stamp: a driver that sets none, or a clock that stands still."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class RepeatedStamps:
    """Counts how often each stamp came, and tells of the first that comes again.

    Args:
        topic: of the images.
        tell: takes one line for people.
    """

    def __init__(self, topic: str, tell: Callable[[str], object]) -> None:
        """Begin without images."""
        self._topic = topic
        self._tell = tell
        self._seen: Counter[int] = Counter()
        self._told = False

    def add(self, stamp: int) -> int:
        """Return how many images before this one had its stamp, nanoseconds."""
        before = self._seen[stamp]
        self._seen[stamp] += 1
        if before and not self._told:
            self._told = True
            self._tell(
                f"{self._topic}: {why_repeated(stamp)}; images are told apart by _1, _2, ..."
            )
        return before


def why_repeated(stamp: int) -> str:
    """Return what is wrong with a stamp, nanoseconds, that several images have."""
    if stamp == 0:
        return "images carry no stamp (0), so no transform belongs to them; mend the driver"
    return f"several images carry the stamp {stamp} ns; mend the driver, or its clock"

"""Messages of a bag that could not be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """A message that could not be used.

    Attributes:
        topic: where it was recorded.
        stamp: its own, or where it could not be read when it was received, nanoseconds.
        reason: why.
    """

    topic: str
    stamp: int
    reason: str

    def __str__(self) -> str:
        """Return the line that tells it."""
        return f"{self.topic} at {self.stamp} ns: {self.reason}"

"""What is observed of a node under load."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Answer:
    """What the node said about a set of images.

    Attributes:
        stamp: of the images, seconds.
        arrived: when the answer came, on the same clock.
        text: LOCALIZED, or the reason for no pose.
    """

    stamp: float
    arrived: float
    text: str


@dataclass
class Record:
    """What was observed.

    Attributes:
        sent: stamps of the sets published, seconds.
        answers: in the order of arrival.
        memory: (time, MB) of the node's process, once a second.
        diagnostics: the newest values.
    """

    sent: list[float] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    diagnostics: dict[str, str] = field(default_factory=dict)

    def latencies(self) -> NDArray[np.float64]:
        """Return the time from stamp to answer of every answer, seconds."""
        return np.array([answer.arrived - answer.stamp for answer in self.answers])

    def excess(self) -> NDArray[np.float64]:
        """Return by how much each answer but the first is older than the time it took, seconds.

        A node that always takes the newest images begins with images as old as transport makes
        them when it has given the answer before. One that queues falls behind more and more.
        """
        return np.array(
            [
                (after.arrived - after.stamp) - (after.arrived - before.arrived)
                for before, after in zip(self.answers[:-1], self.answers[1:], strict=True)
            ]
        )

"""Where the next image is searched for: a state machine without clocks, threads or middleware."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class Mode(enum.Enum):
    """How much of the map is searched."""

    GLOBAL = "the whole map"
    GUIDED = "references near a pose that was given"
    TRACKING = "a few references near the pose that odometry predicts"


@dataclass(frozen=True)
class SearchState:
    """The mode, and what led to it; events return the next state.

    A pose that was found is carried on by odometry (TRACKING). After some refusals in a row near
    a prior the prior is taken to be wrong and the whole map is searched (GLOBAL) until a pose is
    found or a person gives one (GUIDED): a sensor that was wrong is not asked again in between.

    Attributes:
        mode: how much is searched.
        reason: of the mode, for people.
        refusals: images in a row without a pose although a prior was used.
        widened: the prior proved wrong.
    """

    mode: Mode = Mode.GLOBAL
    reason: str = "no pose yet"
    refusals: int = 0
    widened: bool = False

    def __str__(self) -> str:
        """Return mode and reason."""
        return f"{self.mode.name}: {self.reason}"

    @property
    def uses_prior(self) -> bool:
        """Whether the search is near a prior."""
        return self.mode is not Mode.GLOBAL

    def given(self, source: str) -> SearchState:
        """A person, or whoever speaks for one, says where the robot is."""
        return SearchState(Mode.GUIDED, source)

    def wants_offer(self, source: str) -> bool:
        """Whether a sensor's or a former run's guess is used: it displaces only its like."""
        if self.mode is Mode.GLOBAL:
            return not self.widened
        return self.mode is Mode.GUIDED and self.reason == source

    def offered(self, source: str) -> SearchState:
        """A sensor or a former run has a guess."""
        if not self.wants_offer(source):
            return self
        return SearchState(Mode.GUIDED, source, self.refusals)

    def found(self) -> SearchState:
        """An image was localized."""
        return SearchState(Mode.TRACKING, "localized")

    def refused(self, why: str, with_prior: bool, max_refusals: int) -> SearchState:
        """An image that could be looked at gave no pose.

        Args:
            why: the reason, for people.
            with_prior: whether a prior narrowed the search for this image.
            max_refusals: so many in a row prove the prior wrong.
        """
        if not self.uses_prior or not with_prior:
            return self
        refusals = self.refusals + 1
        if refusals < max_refusals:
            return replace(self, refusals=refusals)
        times = "a refusal" if refusals == 1 else f"{refusals} refusals in a row"
        return SearchState(
            Mode.GLOBAL, f"{times} near the prior, the last: {why}", refusals, widened=True
        )

    def forgotten(self, why: str) -> SearchState:
        """What was known holds no longer: time jumped back, another map, a person asked for it."""
        return SearchState(Mode.GLOBAL, why)

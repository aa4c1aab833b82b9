"""The second pass against the truth, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.demo.passes import Recording
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.offline.bag_results import BagRun, FrameResult


@dataclass(frozen=True)
class Live:
    """What the node said about an image.

    Attributes:
        status: LOCALIZED, a reason, or "dropped" where a newer image came first.
        map_from_base: its pose, or None.
        covariance: (6, 6) of it, or None.
        numbers: (43,) as they stood in the message, or None.
        latency: seconds from publishing the image to receiving the pose, or None.
    """

    status: str
    map_from_base: Transform | None = None
    covariance: NDArray[np.float64] | None = None
    numbers: NDArray[np.float64] | None = None
    latency: float | None = None


@dataclass(frozen=True)
class Score:
    """One image of the second pass.

    Attributes:
        seconds: since the first image.
        truth: map_from_base.
        dead_reckoning: map_from_base by odometry alone, from the true start.
        offline: what `deviloc bag` made of it.
        live: what the node made of it; None without a live run.
    """

    seconds: float
    truth: Transform
    dead_reckoning: Transform
    offline: FrameResult
    live: Live | None

    @property
    def error(self) -> tuple[float, float] | None:
        """Metres and degrees of the live pose (of the offline one without a live run)."""
        pose = self.pose
        return None if pose is None else pose.distance_to(self.truth)

    @property
    def pose(self) -> Transform | None:
        """The live pose of the base (the offline one without a live run)."""
        return self.live.map_from_base if self.live is not None else self.offline.map_from_body

    @property
    def covariance(self) -> NDArray[np.float64] | None:
        """Of `pose`, (6, 6)."""
        return self.live.covariance if self.live is not None else self.offline.covariance

    @property
    def sigma(self) -> float | None:
        """Standard deviation of the position along its worst direction, metres."""
        if self.covariance is None:
            return None
        return float(np.sqrt(np.linalg.eigvalsh(self.covariance[:3, :3])[-1]))

    @property
    def identical(self) -> bool | None:
        """Whether live and offline agree in every bit; None where the node gave no answer."""
        if self.live is None or self.live.status == "dropped":
            return None
        pose, covariance = self.offline.map_from_body, self.offline.covariance
        if pose is None or covariance is None or self.live.numbers is None:
            return pose is None and self.offline.reason == self.live.status
        # Not by way of `Transform`, which would normalise the message's quaternion once more.
        expected = (*pose.translation, *pose.quaternion_xyzw, *covariance.ravel())
        return bool(np.array_equal(expected, self.live.numbers))


@dataclass(frozen=True)
class Summary:
    """The headline numbers.

    Attributes:
        images: of the second pass.
        answered: images that the node looked at (all of them offline).
        localized: of these, how many got a pose.
        median: metres, degrees.
        p95: metres, degrees.
        odometry_drift: metres, of odometry alone at the end.
        identical: answers that agree with the offline run in every bit; None without a live run.
        latency: median and 95th percentile, seconds; None without a live run.
    """

    images: int
    answered: int
    localized: int
    median: tuple[float, float]
    p95: tuple[float, float]
    odometry_drift: float
    identical: int | None
    latency: tuple[float, float] | None


def score(recording: Recording, offline: BagRun, live: Mapping[int, Live] | None) -> list[Score]:
    """Put truth, offline and live results together."""
    results = {frame.stamp: frame for frame in offline.frames}
    begin = recording.truth[0]
    scores = []
    for (stamp, truth), (_, odom_from_base) in zip(
        recording.truth, recording.odometry, strict=True
    ):
        if stamp not in results:
            continue  # An interrupted run.
        answer = None if live is None else live.get(stamp, Live("dropped"))
        seconds = (stamp - begin[0]) * 1e-9
        dead_reckoning = begin[1] @ odom_from_base
        scores.append(Score(seconds, truth, dead_reckoning, results[stamp], answer))
    return scores


def summarize(scores: Sequence[Score]) -> Summary:
    """Return the headline numbers; errors are NaN where nothing was localized."""
    errors = np.array([s.error for s in scores if s.error is not None]).reshape(-1, 2)
    live = [s for s in scores if s.live is not None]
    answered = [s for s in scores if s.live is None or s.live.status != "dropped"]
    waits = [s.live.latency for s in live if s.live is not None and s.live.latency is not None]

    def quantile(q: float) -> tuple[float, float]:
        if not len(errors):
            return float("nan"), float("nan")
        metres, degrees = np.quantile(errors, q, axis=0)
        return float(metres), float(degrees)

    return Summary(
        images=len(scores),
        answered=len(answered),
        localized=len(errors),
        median=quantile(0.5),
        p95=quantile(0.95),
        odometry_drift=scores[-1].dead_reckoning.distance_to(scores[-1].truth)[0] if scores else 0,
        identical=sum(bool(s.identical) for s in live) if live else None,
        latency=(float(np.median(waits)), float(np.quantile(waits, 0.95))) if waits else None,
    )

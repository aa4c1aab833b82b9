"""Which images of a drive a map is made of: those that show something new, and of these sharp ones.

An image is due where the camera has moved or turned far enough since the last chosen one, or where
too little is left of what that one shows. Of the images that follow closely, the sharpest is taken.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.bags.extraction.view_change import Change, Follower, View, look_at
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform

# Without odometry, an image is due where depths shift its corners by this share of its side.
PARALLAX = 0.02
# A robot that moved less than this share of a step stands: what changes are others.
STANDING = 0.1
# Until the change is so many times the one that makes an image due, sharper ones are looked for;
# longer where all were blurred until then.
WAIT, WAIT_BLURRED = 1.25, 1.6
# So much sharper another image has to be; less than this share of the usual is blurred.
SHARPER, BLURRED = 1.15, 0.5
USUAL_OVER = 15

BLANK = "shows nothing to find again"
NOTHING_NEW = "shows what the image chosen before it shows"
LESS_SHARP = "stands beside a sharper one"


@dataclass(frozen=True)
class ChoiceOptions:
    """What makes an image due.

    Attributes:
        distance: way of the camera, metres, where odometry tells it.
        turn: turn of the camera, radians.
        every: seconds, where no odometry tells its way; None: what the images show decides.
        overlap: least share of what an image shows that the next one has to show; None: images
            are not looked at, and the first one that is due is taken.
    """

    distance: float = 0.5
    turn: float = math.inf
    every: float | None = 0.5
    overlap: float | None = None


@dataclass(frozen=True)
class Moment:
    """When and where an image was taken.

    Attributes:
        stamp: nanoseconds.
        received: nanoseconds.
        pose: odom_from_camera, where it is known.
    """

    stamp: int
    received: int
    pose: Transform | None


@dataclass(frozen=True)
class Frame:
    """An image of the bag, pixels (H, W) or (H, W, 3) uint8."""

    moment: Moment
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Chosen:
    """An image that is taken.

    Attributes:
        frame: the image.
        overlap: share of what the one before it shows that it shows too; 1 where nobody looked.
        blurred: it is far less sharp than images around it, and none of these could replace it.
    """

    frame: Frame
    overlap: float = 1.0
    blurred: bool = False


@dataclass(frozen=True)
class _Candidate:
    chosen: Chosen
    view: View


class FrameChoice:
    """Takes the images of a bag one after the other, and says which are chosen."""

    def __init__(self, options: ChoiceOptions) -> None:
        """Begin without images."""
        self._options = options
        self._last: Moment | None = None
        self._follower: Follower | None = None
        self._candidate: _Candidate | None = None
        self._usual: deque[float] = deque(maxlen=USUAL_OVER)
        self.passed: Counter[str] = Counter()

    def wants(self, moment: Moment) -> bool:
        """Say whether the pixels of an image are needed; if not, it is passed over."""
        if self._options.overlap is not None or self._last is None or self._motion(moment) >= 1:
            return True
        self.passed[NOTHING_NEW] += 1
        return False

    def offer(self, frame: Frame) -> list[Chosen]:
        """Return which images are chosen now that this one came, itself or one before it."""
        if self._options.overlap is None:
            self._last = frame.moment
            return [Chosen(frame)]
        view = look_at(frame.pixels)
        if view.is_blank:
            self.passed[BLANK] += 1
            return []
        self._usual.append(view.sharpness)
        if self._last is None:
            return [self._take(_Candidate(Chosen(frame), view))]
        found: list[Chosen] = []
        change, step = self._step(frame, view)
        held = self._candidate
        if held is not None and step >= (WAIT_BLURRED if held.chosen.blurred else WAIT):
            found.append(self._take(held))
            change, step = self._step(frame, view)
        if step < 1:
            self.passed[NOTHING_NEW] += 1
            return found
        self._hold(frame, view, change)
        held = self._candidate
        assert held is not None
        if step >= (WAIT_BLURRED if held.chosen.blurred else WAIT):
            found.append(self._take(held))
        return found

    def finish(self) -> list[Chosen]:
        """Return what is chosen when no image comes any more."""
        return [] if self._candidate is None else [self._take(self._candidate)]

    def _hold(self, frame: Frame, view: View, change: Change) -> None:
        """Keep an image that is due, or the one that is kept already if that is sharp enough."""
        held = self._candidate
        if held is not None:
            self.passed[LESS_SHARP] += 1
            if view.sharpness <= SHARPER * held.view.sharpness:
                return
        blurred = view.sharpness < BLURRED * float(np.median(self._usual))
        self._candidate = _Candidate(Chosen(frame, change.overlap, blurred), view)

    def _take(self, item: _Candidate) -> Chosen:
        self._last = item.chosen.frame.moment
        self._follower = Follower(item.view)
        self._candidate = None
        return item.chosen

    def _step(self, frame: Frame, view: View) -> tuple[Change, float]:
        """Return what changed since the last chosen image; an image is due where that is 1."""
        assert self._follower is not None
        assert self._last is not None
        assert self._options.overlap is not None
        change = self._follower.follow(view)
        by_view = (1 - change.overlap) / (1 - self._options.overlap)
        moment = frame.moment
        if moment.pose is None or self._last.pose is None:
            by_motion = (
                change.parallax / PARALLAX if self._options.every is None else self._motion(moment)
            )
            return change, 0.0 if change.is_none else max(by_motion, by_view)
        by_motion = self._motion(moment)
        if by_motion < STANDING or change.is_none:
            return change, min(by_motion, STANDING)
        return change, max(by_motion, by_view)

    def _motion(self, moment: Moment) -> float:
        """Return the way or turn since the last chosen image, or the time, in steps."""
        assert self._last is not None
        if moment.pose is not None and self._last.pose is not None:
            metres, degrees = moment.pose.distance_to(self._last.pose)
            return max(
                _steps(metres, self._options.distance),
                _steps(math.radians(degrees), self._options.turn),
            )
        if self._options.every is None:
            return math.inf
        # A stamp that stands still says nothing of time; reception does.
        passed = moment.stamp - self._last.stamp or moment.received - self._last.received
        return _steps(abs(passed), self._options.every * NANOSECONDS)


def _steps(value: float, step: float) -> float:
    return math.inf if step == 0 else value / step

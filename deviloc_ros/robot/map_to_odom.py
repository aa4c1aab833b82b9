"""map -> odom between fixes: kept, corrected at once or smoothly, flattened if asked for."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class _Correction:
    """One fix: from what was said before to what it says, around where the robot is.

    Attributes:
        begin: map_from_odom said at `since`; None: the fix is said at once.
        end: map_from_odom of the fix.
        pivot: (3,) position of the base in the odometry frame at the fix. Turning about the
            frame's origin instead would swing a robot far from it through the map.
        since: nanoseconds.
    """

    begin: Transform | None
    end: Transform
    pivot: NDArray[np.float64]
    since: int


class MapToOdom:
    """The transform that carries odometry into the map; safe to use from any thread.

    Args:
        planar: z, roll and pitch are 0.
        smoothing: time constant of corrections, seconds; 0: each is said at once.
        smoothing_limit: corrections that move the base farther are said at once, metres.
        max_age: after so long without a fix nothing is said, seconds; 0: never.
    """

    def __init__(
        self,
        planar: bool = False,
        smoothing: float = 0.0,
        smoothing_limit: float = 1.0,
        max_age: float = 0.0,
    ) -> None:
        """Begin without a fix."""
        self.planar = planar
        self.smoothing = smoothing
        self.smoothing_limit = smoothing_limit
        self.max_age = max_age
        self._lock = threading.Lock()
        self._correction: _Correction | None = None

    def clear(self) -> None:
        """Forget every fix."""
        with self._lock:
            self._correction = None

    def correct(self, map_from_base: Transform, odom_from_base: Transform, now: int) -> None:
        """Take a fix.

        Args:
            map_from_base: the verified pose of the base.
            odom_from_base: odometry at the same stamp.
            now: nanoseconds.
        """
        if self.planar:
            map_from_base, odom_from_base = flattened(map_from_base), flattened(odom_from_base)
        end = map_from_base @ odom_from_base.inverse()
        pivot = odom_from_base.translation.copy()
        with self._lock:
            begin = self._at(now)
            if begin is not None:
                jump = float(np.linalg.norm(begin.apply(pivot) - end.apply(pivot)))
                if self.smoothing == 0 or jump > self.smoothing_limit:
                    begin = None
            self._correction = _Correction(begin, end, pivot, now)

    def at(self, now: int) -> Transform | None:
        """Return map_from_odom at a time, nanoseconds; None without a fix that is young enough."""
        with self._lock:
            return self._at(now)

    def _at(self, now: int) -> Transform | None:
        correction = self._correction
        if correction is None:
            return None
        elapsed = max(0, now - correction.since) * 1e-9
        if self.max_age and elapsed > self.max_age:
            return None
        begin, end, pivot = correction.begin, correction.end, correction.pivot
        if begin is None or self.smoothing == 0:
            return end
        left = float(np.exp(-elapsed / self.smoothing))
        turn = (begin.rotation * end.rotation.inv()).as_rotvec()
        rotation = Rotation.from_rotvec(left * turn) * end.rotation
        target = end.apply(pivot)
        position = target + left * (begin.apply(pivot) - target)
        return Transform(rotation, position - rotation.apply(pivot))


def flattened(frame_from_base: Transform) -> Transform:
    """Return a pose with z, roll and pitch 0; x, y and the heading of its x axis stay.

    A rotation about z before a pose turns its heading by just that angle. So map_from_odom made of
    flattened poses gives the base its x, y and heading also where odometry itself is not flat.
    """
    x_axis = frame_from_base.rotation.apply([1.0, 0.0, 0.0])
    heading = Rotation.from_euler("z", np.arctan2(x_axis[1], x_axis[0]))
    return Transform(heading, np.array([*frame_from_base.translation[:2], 0.0]))

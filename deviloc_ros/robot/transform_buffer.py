"""The transforms of the last seconds: what is asked of them, and a buffer without tf2_ros."""

from __future__ import annotations

import bisect
import threading
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from pytransform3d.transform_manager import (
    NumpyTimeseriesTransform,
    StaticTransform,
    TemporalTransformManager,
)

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import Link

HISTORY_NS = 10_000_000_000
"""How long transforms are kept, as tf2 does."""


class TransformUnavailableError(LookupError):
    """A transform is not known at that time; the message says which, and what is known."""


class TransformLookup(Protocol):
    """What a robot asks of its transforms: of tf, or of those recorded in a bag."""

    def lookup(self, target: str, source: str, stamp: int, timeout: float) -> Transform:
        """Return target_from_source at a stamp, ns, or raise TransformUnavailableError."""

    def newest(self, target: str, source: str) -> Transform:
        """Return the newest target_from_source, or raise TransformUnavailableError."""

    def connected(self, target: str, source: str) -> bool:
        """Say whether any chain of transforms was ever seen between two frames."""


@dataclass
class _Edge:
    """The transforms from one child frame to its parent, sorted by stamp (ns)."""

    parent: str
    stamps: list[int] = field(default_factory=list)
    poses: list[list[float]] = field(default_factory=list)
    changed: bool = True


class TransformBuffer:
    """A tree of frames over time, interpolated by pytransform3d; safe to use from any thread.

    Between two stamps a frame follows a screw; tf2 interpolates translation and rotation apart.
    They differ by the arc's height over its chord: for a turn by t about a point at a distance L,
    by up to L t^2 / 8.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._changed = threading.Condition()
        self._static: dict[str, tuple[str, Transform]] = {}
        self.clear()

    def clear(self) -> None:
        """Forget everything that moves; fixed transforms stay, as in tf2."""
        with self._changed:
            self._edges: dict[str, _Edge] = {}
            self._graph = TemporalTransformManager(check=False)
            for child, (parent, transform) in self._static.items():
                self._graph.add_transform(child, parent, StaticTransform(transform.matrix))

    def set_static(self, parent: str, child: str, parent_from_child: Transform) -> None:
        """Add or replace a transform that holds at every time."""
        with self._changed:
            self._cut(child)
            self._static[child] = (parent, parent_from_child)
            self._graph.add_transform(child, parent, StaticTransform(parent_from_child.matrix))
            self._changed.notify_all()

    def add(self, parent: str, child: str, stamp: int, parent_from_child: Transform) -> None:
        """Add a transform at a time, nanoseconds; those older than 10 s before the newest go."""
        w, x, y, z = parent_from_child.quaternion_wxyz
        pose = [*parent_from_child.translation.tolist(), w, x, y, z]
        with self._changed:
            if child in self._static or self._edges.get(child, _Edge(parent)).parent != parent:
                self._cut(child)
            edge = self._edges.setdefault(child, _Edge(parent))
            index = bisect.bisect_left(edge.stamps, stamp)
            if index < len(edge.stamps) and edge.stamps[index] == stamp:
                edge.poses[index] = pose
            else:
                edge.stamps.insert(index, stamp)
                edge.poses.insert(index, pose)
            expired = bisect.bisect_left(edge.stamps, edge.stamps[-1] - HISTORY_NS)
            del edge.stamps[:expired], edge.poses[:expired]
            edge.changed = True
            self._changed.notify_all()

    def set_static_link(self, link: Link) -> None:
        """Add or replace a transform that holds at every time, as a message says it."""
        self.set_static(link.parent, link.child, link.parent_from_child)

    def add_link(self, link: Link) -> None:
        """Add a transform at its stamp, as a message says it."""
        self.add(link.parent, link.child, link.stamp, link.parent_from_child)

    def connected(self, target: str, source: str) -> bool:
        """Say whether a chain of transforms joins two frames, at any time."""
        with self._changed:
            self._update()
            try:
                i, j = (self._graph.nodes.index(name) for name in (target, source))
            except ValueError:
                return target == source
            return bool(np.isfinite(self._graph.dist[i, j]))

    def lookup(self, target: str, source: str, stamp: int, timeout: float) -> Transform:
        """Return target_from_source at a stamp, nanoseconds, waiting up to `timeout` seconds.

        Raises:
            TransformUnavailableError: the frames are not joined, or not at that time.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                try:
                    return self._lookup_now(target, source, stamp)
                except TransformUnavailableError:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0:
                        raise
                    self._changed.wait(remaining)

    def newest(self, target: str, source: str) -> Transform:
        """Return the newest target_from_source: at the last time that every link of it is known.

        Raises:
            TransformUnavailableError: the frames are not joined, or at no common time.
        """
        with self._changed:
            up, down = self._links(source), self._links(target)
            shared = up.keys() & down.keys()
            own = [edge.stamps[-1] for child, edge in (up | down).items() if child not in shared]
            return self._lookup_now(target, source, min(own, default=0))

    def _links(self, frame: str) -> dict[str, _Edge]:
        """Return the moving links from a frame to the root of its tree, by child."""
        links: dict[str, _Edge] = {}
        seen: set[str] = set()
        while frame not in seen:
            seen.add(frame)
            if frame in self._edges:
                links[frame] = self._edges[frame]
                frame = links[frame].parent
            elif frame in self._static:
                frame = self._static[frame][0]
        return links

    def _lookup_now(self, target: str, source: str, stamp: int) -> Transform:
        if target == source:
            return Transform.identity()
        self._update()
        unknown = [name for name in (target, source) if name not in self._graph.nodes]
        if unknown:
            raise TransformUnavailableError(f"no transform names the frame {unknown[0]!r}")
        try:
            matrix = self._graph.get_transform_at_time(source, target, np.int64(stamp))
        except KeyError:
            raise TransformUnavailableError(
                f"no chain of transforms joins {target!r} and {source!r}"
            ) from None
        except ValueError:
            raise TransformUnavailableError(
                f"{target!r} from {source!r} is not known at {stamp / 1e9:.3f} s"
            ) from None
        return Transform.from_matrix(matrix)

    def _update(self) -> None:
        """Hand what was added since the last look to pytransform3d."""
        for child, edge in self._edges.items():
            if edge.changed:
                # Whole nanoseconds: float64 cannot hold those since 1970, and seconds since some
                # first stamp would make poses depend on when one began to listen.
                times = np.array(edge.stamps, dtype=np.int64)
                series = NumpyTimeseriesTransform(times, np.array(edge.poses))
                self._graph.add_transform(child, edge.parent, series)
                edge.changed = False

    def _cut(self, child: str) -> None:
        """Take a frame off its former parent: a frame has one parent, the last one it was given."""
        parent = None
        if child in self._static:
            parent = self._static.pop(child)[0]
        elif child in self._edges:
            edge = self._edges.pop(child)
            parent = edge.parent
        if parent is not None and self._graph.has_frame(child):
            self._graph.remove_transform(child, parent)

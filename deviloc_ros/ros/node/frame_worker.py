"""The thread that localizes: always the newest images, one set at a time.

What it could not get to is dropped and counted.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

from rclpy.lifecycle import LifecycleNode

from deviloc_ros.localization.types import FailureReason
from deviloc_ros.robot.extrinsics import Extrinsics
from deviloc_ros.robot.frame_set import FrameSet
from deviloc_ros.robot.localize_frames import localize_seen, see
from deviloc_ros.robot.outcome import Fix, Outcome, Refusal
from deviloc_ros.robot.priors import Priors
from deviloc_ros.robot.told_once import ToldOnce
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.diagnostics.snapshot import Snapshot
from deviloc_ros.ros.diagnostics.statistics import Statistics
from deviloc_ros.ros.inputs.images import Converter
from deviloc_ros.ros.node.loaded_map import LoadedMap
from deviloc_ros.ros.outputs.results import Results

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

    def clear(self) -> bool:
        """Let a waiting item go; return whether there was one."""
        with self._changed:
            waited, self._item = self._item is not None, None
            return waited

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


class FrameWorker:
    """Takes sets of images, gives results to the topics and to the priors."""

    def __init__(
        self,
        node: LifecycleNode,
        config: NodeConfig,
        read_pixels: Converter,
        extrinsics: Extrinsics,
        priors: Priors,
        results: Results,
    ) -> None:
        """Take what a set of images needs; nothing runs yet."""
        self._node = node
        self._config = config
        self._read_pixels = read_pixels
        self._extrinsics = extrinsics
        self._priors = priors
        self._results = results
        self._worker: NewestItemWorker[FrameSet] | None = None
        self._map: LoadedMap | None = None
        self._map_lock = threading.Lock()
        self._jumps = 0
        self._in_hand: FrameSet | None = None
        self._asked: list[tuple[FrameSet | None, Callable[[Outcome], None]]] = []
        self._complaints = ToldOnce(lambda text: node.get_logger().error(text))
        self.statistics = Statistics()

    def configure(self, config: NodeConfig) -> None:
        """Take changed parameters."""
        self._config = config

    def start(self, loaded: LoadedMap) -> None:
        """Begin to work, with counters at zero."""
        self._map = loaded
        self.statistics = Statistics()
        self._complaints.forget()
        self._worker = NewestItemWorker(self._work, "localizer")

    def use(self, loaded: LoadedMap, forget: Callable[[], None]) -> None:
        """Take another map for the next images.

        Args:
            loaded: the map.
            forget: drops what was known in the old one; no result in that comes after it.
        """
        with self._map_lock:
            self._map = loaded
            self.statistics.use_another_map()
            self._complaints.forget()
            forget()

    def stop(self) -> None:
        """End the thread after the images in hand."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def tell_next(self, callback: Callable[[Outcome], None]) -> None:
        """Tell the result of images that come from now on, once, in the worker's thread."""
        if self._worker is not None and self._worker.clear():
            self.statistics.count_dropped()
        with self._map_lock:
            self._asked.append((self._in_hand, callback))

    def forget_images(self) -> None:
        """Let go of the images that wait or are in hand: time jumped back, their stamps are ahead.

        They count as dropped.
        """
        with self._map_lock:
            self._jumps += 1
        if self._worker is not None and self._worker.clear():
            self.statistics.count_dropped()

    def submit(self, frames: FrameSet) -> None:
        """Leave images for the thread; those that wait there are dropped for them."""
        if self._worker is not None:
            replaced = self._worker.submit(frames)
            self.statistics.count_received(replaced)

    def snapshot(self) -> Snapshot:
        """Return the counters."""
        waiting = self._worker.waiting if self._worker is not None else 0
        return replace(self.statistics.snapshot(), waiting=waiting)

    def _work(self, frames: FrameSet) -> None:
        """Do all that a set of images needs; nothing escapes, or the thread would end."""
        self._in_hand = frames
        try:
            self._localize(frames)
        except Exception as error:
            self._node.get_logger().error(f"image {frames.stamp} ns: {traceback.format_exc()}")
            details = f"{type(error).__name__}: {error}"
            failed = Outcome(frames, Refusal(FailureReason.INTERNAL_ERROR, details))
            self._tell(failed, self._age(frames), "")

    def _localize(self, frames: FrameSet) -> None:
        wait = self._age(frames)
        loaded, jumps = self._map, self._jumps
        assert loaded is not None
        seen = see(frames, loaded.localizer, self._read_pixels)
        prior, token = self._priors.predict(frames.stamp)
        outcome = localize_seen(seen, self._extrinsics, loaded.localizer, prior)
        with self._map_lock:
            if jumps != self._jumps:
                self.statistics.count_dropped()
                return  # Its stamp lies in what is the future now.
            current = self._map
            assert current is not None
            if current is not loaded and not current.is_like(loaded):
                self.statistics.count_dropped()
                return  # A pose in the former map would be taken for one in the new.
            tf = self._results.publish_pose(outcome)
            self._priors.learn(outcome, prior is not None, token)
        self._tell(outcome, wait, tf)

    def _tell(self, outcome: Outcome, wait: float, tf: str) -> None:
        latency = self._age(outcome.frames)
        limit = self._config.diagnostics.max_latency
        self.statistics.count(outcome, wait, latency, limit, tf)
        self._complain(outcome)
        self._results.publish_status(outcome, latency, tf, self._priors.state)
        with self._map_lock:
            due = [callback for before, callback in self._asked if before is not outcome.frames]
            self._asked = [item for item in self._asked if item[1] not in due]
        for callback in due:
            callback(outcome)

    def _complain(self, outcome: Outcome) -> None:
        """Log once what somebody has to mend; every image tells it on ~/status."""
        result = outcome.result
        if isinstance(result, Fix) or result.reason is not FailureReason.DAMAGED_MAP:
            return
        self._complaints.tell(result.details, result.details)

    def _age(self, frames: FrameSet) -> float:
        """Return the time since the images' stamp, seconds."""
        return float(self._node.get_clock().now().nanoseconds - frames.stamp) * 1e-9

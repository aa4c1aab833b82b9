"""What the node says about itself: counters, /diagnostics (REP-107) and ~/status.

`VALUES` is the table of docs/ros-interface.md; a test keeps them equal.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from deviloc_ros.ros.messages import stamp_message
from deviloc_ros.ros.outcome import Fix, NodeRefusal, Outcome
from deviloc_ros.ros.parameters import DiagnosticsConfig

WINDOW_SECONDS = 10.0

VALUES: dict[str, tuple[str, str]] = {
    "state": ("lifecycle state", ""),
    "map": ("map file, and whether it is metric and aligned to gravity", ""),
    "image_topic": ("resolved name, and which converter reads it", ""),
    "calibrated": (
        "a camera_info has come",
        "ERROR: active for `diagnostics.max_fix_age`, and none has come",
    ),
    "frames_received": (
        "images since activation",
        "ERROR: active for `diagnostics.max_fix_age`, and none has come",
    ),
    "frames_localized": ("of these, how many gave a pose", ""),
    "frames_refused": ("of these, how many gave none", ""),
    "frames_dropped": ("replaced by a newer image before they were looked at", ""),
    "frames_late": (
        "results later than `diagnostics.max_latency` after the image's stamp",
        "WARN: the newest result was late",
    ),
    "rate_hz": ("poses per second over the last 10 s", ""),
    "latency_ms": ("mean over 10 s, from the image's stamp to its result", ""),
    "inliers": ("of the newest pose", ""),
    "fix_age_s": (
        "since the newest pose, or since activation",
        "WARN: above `diagnostics.max_fix_age`",
    ),
    "last_refusal": ("why the newest image without a pose has none", ""),
    "tf": ("the transform published last, or why none is", "WARN: withheld because of the map"),
    "internal_errors": ("faults of the node, with a traceback in the log", "ERROR: above 0"),
}
"""Key of /diagnostics: its meaning, and when it raises the level."""


@dataclass(frozen=True)
class Setting:
    """What diagnostics repeat about the configuration in use.

    Attributes:
        map: one line.
        image_topic: one line.
        tf_withheld: why the map gives no transform; empty if it does.
    """

    map: str
    image_topic: str
    tf_withheld: str


class Statistics:
    """Counts what happens to frames since activation; safe to use from any thread."""

    def __init__(self) -> None:
        """Start counting now."""
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._received = 0
        self._localized = 0
        self._refused = 0
        self._late = 0
        self._newest_late = False
        self._errors = 0
        self._inliers = 0
        self._last_fix: float | None = None
        self._last_refusal = ""
        self._tf = ""
        self._fixes: deque[float] = deque()
        self._latencies: deque[tuple[float, float]] = deque()

    def count_received(self) -> None:
        """Count an image that came."""
        with self._lock:
            self._received += 1

    def count(self, outcome: Outcome, latency: float, max_latency: float, tf: str) -> None:
        """Count a result.

        Args:
            outcome: what became of the image.
            latency: from the image's stamp to now, on the node's clock, seconds.
            max_latency: above this a result is late, seconds.
            tf: the transform published, or why none was.
        """
        now = time.monotonic()
        with self._lock:
            self._latencies.append((now, latency))
            self._newest_late = latency > max_latency
            self._late += self._newest_late
            if isinstance(outcome.result, Fix):
                self._localized += 1
                self._inliers = outcome.num_inliers
                self._last_fix = now
                self._tf = tf
                self._fixes.append(now)
            else:
                self._refused += 1
                self._errors += outcome.result.reason is NodeRefusal.INTERNAL_ERROR
                self._last_refusal = f"{outcome.result.reason.name}: {outcome.result.details}"

    def report(
        self, setting: Setting, limits: DiagnosticsConfig, calibrated: bool, dropped: int
    ) -> tuple[bytes, str, dict[str, str]]:
        """Return level, message and values of an active node, without its state."""
        now = time.monotonic()
        with self._lock:
            while self._fixes and self._fixes[0] < now - WINDOW_SECONDS:
                self._fixes.popleft()
            while self._latencies and self._latencies[0][0] < now - WINDOW_SECONDS:
                self._latencies.popleft()
            window = min(WINDOW_SECONDS, max(now - self._started, 1e-3))
            latencies = [latency for _, latency in self._latencies]
            mean = sum(latencies) / len(latencies) * 1e3 if latencies else float("nan")
            age = now - (self._last_fix or self._started)
            overdue = now - self._started > limits.max_fix_age
            values = {
                "map": setting.map,
                "image_topic": setting.image_topic,
                "calibrated": str(calibrated).lower(),
                "frames_received": str(self._received),
                "frames_localized": str(self._localized),
                "frames_refused": str(self._refused),
                "frames_dropped": str(dropped),
                "frames_late": str(self._late),
                "rate_hz": f"{len(self._fixes) / window:.2f}",
                "latency_ms": f"{mean:.1f}",
                "inliers": str(self._inliers),
                "fix_age_s": f"{age:.2f}",
                "last_refusal": self._last_refusal,
                "tf": setting.tf_withheld or self._tf,
                "internal_errors": str(self._errors),
            }
            complaints = [
                (DiagnosticStatus.ERROR, self._errors > 0, "internal errors, see the log"),
                (DiagnosticStatus.ERROR, overdue and self._received == 0, "no images"),
                (DiagnosticStatus.ERROR, overdue and not calibrated, "no camera_info"),
                (DiagnosticStatus.WARN, age > limits.max_fix_age, "no pose for too long"),
                (DiagnosticStatus.WARN, self._newest_late, "results come late"),
                (
                    DiagnosticStatus.WARN,
                    "the map" in setting.tf_withheld,
                    "no transform from this map",
                ),
            ]
        raised = [(level, text) for level, condition, text in complaints if condition]
        level = max((level for level, _ in raised), default=DiagnosticStatus.OK)
        text = "; ".join(text for _, text in raised) or "localizing"
        return level, text, values


def diagnostic_array(
    name: str, stamp: int, level: bytes, text: str, values: dict[str, str]
) -> DiagnosticArray:
    """Return one status as a message."""
    message = DiagnosticArray()
    message.header.stamp = stamp_message(stamp)
    message.status = [
        DiagnosticStatus(
            level=level,
            name=name,
            message=text,
            hardware_id="",
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
    ]
    return message


def frame_status(name: str, outcome: Outcome, latency: float, tf: str) -> DiagnosticArray:
    """Return what ~/status says about one image, with the image's stamp."""
    values = {"inliers": str(outcome.num_inliers), "latency_ms": f"{latency * 1e3:.1f}"}
    if isinstance(outcome.result, Fix):
        level, text = DiagnosticStatus.OK, "LOCALIZED"
        values["matches"] = str(outcome.result.num_matches)
        values["references"] = ", ".join(outcome.result.references)
        values["tf"] = tf
    else:
        level, text = DiagnosticStatus.WARN, outcome.result.reason.name
        if outcome.result.reason is NodeRefusal.INTERNAL_ERROR:
            level = DiagnosticStatus.ERROR
        values["reason"] = outcome.result.reason.value
        values["details"] = outcome.result.details
    values.update({f"{k}_ms": f"{s * 1e3:.1f}" for k, s in outcome.stage_seconds.items()})
    return diagnostic_array(name, outcome.frames.stamp, level, text, values)

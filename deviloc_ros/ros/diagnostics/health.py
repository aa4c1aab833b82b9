"""When the node is well: the table of what it reports, and of what raises the level.

Diagnostics follow `ITEMS`, docs/ros-interface.md is generated from it, and a test raises every one
of its levels.
"""

from __future__ import annotations

import math

from deviloc_ros.robot.synchronizer import CameraCount
from deviloc_ros.ros.config.output_config import DiagnosticsConfig
from deviloc_ros.ros.diagnostics.rules import Item, error, item, warn
from deviloc_ros.ros.diagnostics.snapshot import Snapshot


def _milliseconds(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{seconds * 1e3:.1f}"


def _camera(name: str, count: CameraCount, now: Snapshot) -> str:
    text = f"{name}: {count.received} received, {count.missing} missing, {count.late} late"
    if count.received and not count.silent:
        return text
    if name in now.unpublished:
        return f"{text}, nobody publishes them"
    return f"{text}, published but lost on the way (docs/ros-interface.md, Quality of service)"


def _stage(name: str, meaning: str) -> Item:
    def too_slow(now: Snapshot, limits: DiagnosticsConfig) -> bool:
        budget = float(getattr(limits.budget, name))
        return 0 < budget < now.stages.get(name, 0.0)

    rule = warn(f"above `diagnostics.budget.{name}`", f"{name} takes too long", too_slow)
    return item(f"{name}_ms", meaning, lambda now: _milliseconds(now.stages.get(name, 0.0)), rule)


_OVERDUE = "active for `diagnostics.max_fix_age`, and none was received"

ITEMS: tuple[Item, ...] = (
    item("mode", "search mode, with the reason", lambda now: now.mode),
    item("map", "map file, and whether it is metric and aligned to gravity", lambda now: now.map),
    item(
        "reload",
        "result of the last `~/reload_map`",
        lambda now: now.reload,
        warn("failed", "the map could not be reloaded", lambda now, _: now.reload_failed),
    ),
    item(
        "image_topic", "resolved names, and which converter reads them", lambda now: now.image_topic
    ),
    item(
        "calibrated",
        "a camera_info was received for every camera; otherwise the topics without one",
        lambda now: f"not {', '.join(now.uncalibrated)}" if now.uncalibrated else "true",
        warn(
            f"{_OVERDUE} of a camera of a rig",
            "a camera has no camera_info",
            lambda now, limits: bool(now.uncalibrated) and now.overdue > limits.max_fix_age,
        ),
        error(
            _OVERDUE,
            "no camera_info",
            lambda now, limits: (
                bool(now.uncalibrated)
                and len(now.uncalibrated) >= len(now.cameras)
                and now.overdue > limits.max_fix_age
            ),
        ),
    ),
    item(
        "rectified",
        "by image topic whether P of camera_info holds, or K and D, and why",
        lambda now: "; ".join(f"{topic}: {decided}" for topic, decided in now.rectified.items()),
    ),
    item(
        "cameras",
        "for a rig: received, missing and late images of each camera",
        lambda now: "; ".join(_camera(name, count, now) for name, count in now.cameras.items()),
        warn(
            _OVERDUE.replace("none was received", "a camera has sent no image")
            + "; or was missing in all sets of 1 s",
            "images of a camera do not come",
            lambda now, limits: any(
                count.silent or (not count.received and now.overdue > limits.max_fix_age)
                for count in now.cameras.values()
            ),
        ),
    ),
    item(
        "frames_received",
        "images received since activation",
        lambda now: str(now.received),
        error(
            _OVERDUE,
            "no images",
            lambda now, limits: now.received == 0 and now.overdue > limits.max_fix_age,
        ),
    ),
    item("frames_localized", "images with a pose", lambda now: str(now.localized)),
    item("frames_refused", "images without a pose", lambda now: str(now.refused)),
    item(
        "frames_dropped",
        "images not processed to the end: replaced by a newer one, or time jumped back, or another "
        "map came",
        lambda now: str(now.dropped),
        warn(
            "their share of 10 s is above `diagnostics.max_dropped`",
            "too many images are dropped",
            lambda now, limits: now.dropped_share > limits.max_dropped,
        ),
    ),
    item("queue", "images that wait to be processed, at most 1", lambda now: str(now.waiting)),
    item(
        "frames_late",
        "results later than `diagnostics.max_latency` after the image's stamp",
        lambda now: str(now.late),
    ),
    item(
        "rate_hz",
        "poses per second over the last 10 s",
        lambda now: f"{now.rate:.2f}",
        warn(
            "below `diagnostics.min_rate` for 10 s",
            "too few poses a second",
            lambda now, limits: now.overdue >= 10 and now.rate < limits.min_rate,
        ),
    ),
    item(
        "latency_ms",
        "mean time from the image's stamp to its result over 10 s",
        lambda now: _milliseconds(now.latency),
        warn(
            "above `diagnostics.max_latency`",
            "results come late",
            lambda now, limits: now.latency > limits.max_latency,
        ),
        error(
            "above `diagnostics.excessive_latency`",
            "results come far too late",
            lambda now, limits: now.latency > limits.excessive_latency,
        ),
    ),
    _stage("wait", "part of the latency: transport and queue"),
    _stage("extract", "part of the latency: feature extraction"),
    _stage("retrieve", "part of the latency: retrieval"),
    _stage("match", "part of the latency: matching"),
    _stage("pose", "part of the latency: RANSAC-PnP and refinement"),
    item(
        "ways",
        "images since activation matched with nearest neighbours (`fast`) and with `context`",
        lambda now: ", ".join(f"{way}: {count}" for way, count in sorted(now.ways.items())),
    ),
    item(
        "inliers",
        "inliers of the last pose",
        lambda now: str(now.inliers),
        warn(
            "mean over 10 s below `diagnostics.min_inliers`",
            "poses rest on few inliers",
            lambda now, limits: now.mean_inliers < limits.min_inliers,
        ),
    ),
    item(
        "fix_age_s",
        "time since the last pose, or since activation",
        lambda now: f"{now.fix_age:.2f}",
        warn(
            "above `diagnostics.max_fix_age`",
            "no pose for too long",
            lambda now, limits: not now.paused and now.fix_age > limits.max_fix_age,
        ),
        error(
            "above `diagnostics.lost_after`",
            "lost",
            lambda now, limits: not now.paused and now.fix_age > limits.lost_after,
        ),
    ),
    item(
        "last_refusal",
        "reason of the last image without a pose",
        lambda now: now.last_refusal,
    ),
    item(
        "unusable",
        "images of the last 10 s that could not be looked at, by reason; of a rig by camera",
        lambda now: ", ".join(f"{count} {why}" for why, count in sorted(now.unusable.items())),
        warn("any", "images cannot be used", lambda now, _: bool(now.unusable)),
        error("all", "no image can be used", lambda now, _: now.all_unusable),
    ),
    item(
        "namesakes",
        "other nodes of the same name: services and parameters go to one of them at random",
        lambda now: str(now.namesakes),
        warn("above 0", "another node has the same name", lambda now, _: now.namesakes > 0),
    ),
    item(
        "damaged_map",
        "images refused since the map was loaded because its file was written over or a tile "
        "cannot be read; the log names it",
        lambda now: str(now.damaged),
        error("above 0", "the map is damaged: see the log", lambda now, _: now.damaged > 0),
    ),
    item(
        "tf",
        "last published transform, or the reason why none is published",
        lambda now: now.tf,
        warn(
            "withheld because of the map, or because odometry is missing at the last pose",
            "no transform",
            lambda now, _: now.tf_withheld_by_map or now.tf_lacks_odometry,
        ),
    ),
    item(
        "memory_mb",
        "memory of the process",
        lambda now: f"{now.memory:.0f}",
        warn(
            "above `diagnostics.max_memory`",
            "the process holds too much memory",
            lambda now, limits: 0 < limits.max_memory < now.memory,
        ),
    ),
    item(
        "device_memory_mb",
        "used and total memory of the device, of all processes; empty on a CPU",
        lambda now: "{:.0f} of {:.0f}".format(*now.device_memory) if now.device_memory else "",
        warn(
            "the share is above `diagnostics.max_device_memory`",
            "the device's memory is nearly full",
            lambda now, limits: (
                now.device_memory is not None
                and now.device_memory[0] > limits.max_device_memory * now.device_memory[1]
            ),
        ),
    ),
    item(
        "internal_errors",
        "internal errors, with a traceback in the log",
        lambda now: str(now.internal_errors),
        error("above 0", "internal errors, see the log", lambda now, _: now.internal_errors > 0),
    ),
)

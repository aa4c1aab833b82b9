"""What is known of an active node at one moment, its memory included."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from deviloc_ros.robot.synchronizer import CameraCount


def process_memory() -> float:
    """Return what the process holds in physical memory, MB."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def device_memory() -> tuple[float, float] | None:
    """Return MB in use and in all of the CUDA device, by whomever; None where none is used."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 1e6, total / 1e6


@dataclass(frozen=True)
class Snapshot:
    """What is known of an active node at one moment; times in seconds, means over 10 s.

    Attributes:
        mode: how much of the map is searched, and why.
        map: file and properties.
        reload: what became of the last ~/reload_map.
        reload_failed: whether that failed.
        image_topic: resolved names, and which converter reads them.
        uncalibrated: topics on which no camera_info has come.
        unpublished: cameras of a rig whose images nobody publishes.
        cameras: what became of the images of each camera of a rig.
        rectified: by image topic which of K and P holds, and why.
        listening: time since images are let in, without interruption.
        paused: images are not let in.
        received: images since activation.
        localized: of these, how many gave a pose.
        refused: of these, how many gave none.
        dropped: of these, how many were not processed to the end.
        dropped_share: of the images of the last 10 s.
        waiting: images that wait for their turn.
        late: results later than the limit.
        rate: poses a second.
        latency: mean, from stamp to result; NaN without results.
        stages: mean of each stage.
        ways: how many images were matched in each way.
        inliers: of the newest pose.
        mean_inliers: of poses; NaN without poses.
        unusable: why images could not be looked at, and how many, over 10 s.
        all_unusable: that was so of all images.
        namesakes: other nodes of the same name.
        fix_age: since the newest pose, or since images are let in.
        last_refusal: reason of the newest image without a pose.
        damaged: images refused for want of a sound map since it was loaded.
        tf: the transform published last, or why none is.
        tf_withheld_by_map: the map's properties forbid a transform.
        tf_lacks_odometry: the newest pose gave no transform for want of odometry.
        memory: of the process, MB.
        device_memory: MB in use and in all, of the device; None without one.
        internal_errors: faults.
    """

    mode: str = ""
    map: str = ""
    reload: str = ""
    reload_failed: bool = False
    image_topic: str = ""
    uncalibrated: tuple[str, ...] = ()
    unpublished: tuple[str, ...] = ()
    cameras: Mapping[str, CameraCount] = field(default_factory=dict)
    rectified: Mapping[str, str] = field(default_factory=dict)
    listening: float = 0.0
    paused: bool = False
    received: int = 0
    localized: int = 0
    refused: int = 0
    dropped: int = 0
    dropped_share: float = 0.0
    waiting: int = 0
    late: int = 0
    rate: float = 0.0
    latency: float = float("nan")
    stages: Mapping[str, float] = field(default_factory=dict)
    ways: Mapping[str, int] = field(default_factory=dict)
    inliers: int = 0
    mean_inliers: float = float("nan")
    unusable: Mapping[str, int] = field(default_factory=dict)
    all_unusable: bool = False
    namesakes: int = 0
    fix_age: float = 0.0
    last_refusal: str = ""
    damaged: int = 0
    tf: str = ""
    tf_withheld_by_map: bool = False
    tf_lacks_odometry: bool = False
    memory: float = 0.0
    device_memory: tuple[float, float] | None = None
    internal_errors: int = 0

    @property
    def overdue(self) -> float:
        """How long nothing came although it should have; 0 while paused."""
        return 0.0 if self.paused else self.listening

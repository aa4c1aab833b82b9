"""What `deviloc bag` leaves: trajectories, a bag of poses and transforms, and a summary."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.bags import types
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.datasets.poses import write_poses, write_tum
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform

POSE_TOPIC = "/localization/pose"


@dataclass(frozen=True)
class FrameResult:
    """What became of one image.

    Attributes:
        stamp: of the image, nanoseconds.
        received: when the bag received it, nanoseconds.
        camera_from_map: pose of the camera, or None.
        map_from_body: pose of the reported frame, or None.
        covariance: (6, 6) of map_from_body, x y z rx ry rz in the map frame, or None.
        map_from_odom: where the bag has odometry.
        reason: why there is no pose; empty if there is one.
        details: of the reason.
        inliers: matches that agree with the pose.
        matches: 2D-3D matches.
        references: names of the reference images.
        stage_seconds: wall time per stage.
    """

    stamp: int
    received: int
    camera_from_map: Transform | None = None
    map_from_body: Transform | None = None
    covariance: NDArray[np.float64] | None = None
    map_from_odom: Transform | None = None
    reason: str = ""
    details: str = ""
    inliers: int = 0
    matches: int = 0
    references: tuple[str, ...] = ()
    stage_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The image's name in pose files: its stamp in seconds."""
        seconds, rest = divmod(self.stamp, NANOSECONDS)
        return f"{seconds}.{rest:09d}"

    def record(self) -> dict[str, Any]:
        """Return the image's entry in summary.json."""
        entry: dict[str, Any] = {"name": self.name, "localized": self.map_from_body is not None}
        if self.covariance is not None:
            entry["covariance"] = self.covariance.ravel().tolist()
        else:
            entry |= {"reason": self.reason, "details": self.details}
        return entry | {
            "inliers": self.inliers,
            "matches": self.matches,
            "references": list(self.references),
            "stage_seconds": self.stage_seconds,
        }


@dataclass(frozen=True)
class BagRun:
    """A localized bag.

    Attributes:
        map_path: the map.
        bag_path: the bag.
        topic: of the images.
        body: the frame whose poses are reported.
        map_frame: name of the map frame.
        odom_frame: name of the odometry frame.
        frames: one result an image, in the order of reception.
        interrupted: the user ended it early.
    """

    map_path: Path
    bag_path: Path
    topic: str
    body: str
    map_frame: str
    odom_frame: str
    frames: list[FrameResult]
    interrupted: bool = False

    @property
    def localized(self) -> list[FrameResult]:
        """The images with a pose."""
        return [frame for frame in self.frames if frame.map_from_body is not None]

    def line(self) -> str:
        """Return the one-line summary."""
        text = (
            f"{len(self.localized)} of {len(self.frames)} images of {self.topic} localized; "
            f"poses of {self.body} in {self.map_frame}"
        )
        reasons = Counter(frame.reason for frame in self.frames if frame.reason)
        if reasons:
            text += "; without a pose: " + ", ".join(f"{n} {r}" for r, n in reasons.most_common())
        if self.interrupted:
            text += " (interrupted)"
        return text

    def write(self, folder: Path) -> None:
        """Write poses_tum.txt, poses.txt, summary.json and the bag `poses`.

        Raises:
            InputError: the folder cannot be written to.
        """
        localized = self.localized
        trajectory = [(f.stamp, f.map_from_body) for f in localized if f.map_from_body]
        write_tum(folder / "poses_tum.txt", trajectory)
        cameras = {f.name: f.camera_from_map for f in localized if f.camera_from_map}
        write_poses(folder / "poses.txt", cameras)
        self._write_bag(folder / "poses")
        with atomic_path(folder / "summary.json") as path:
            path.write_text(json.dumps(self._summary(), indent=1), encoding="utf-8")

    def _summary(self) -> dict[str, Any]:
        stages = [frame.stage_seconds for frame in self.frames if frame.stage_seconds]
        names = list(dict.fromkeys(name for stage in stages for name in stage))
        return {
            "map": str(self.map_path),
            "bag": str(self.bag_path),
            "topic": self.topic,
            "frame": self.body,
            "map_frame": self.map_frame,
            "images": len(self.frames),
            "localized": len(self.localized),
            "interrupted": self.interrupted,
            "median_stage_seconds": {
                name: statistics.median(stage[name] for stage in stages if name in stage)
                for name in names
            },
            "frames": [frame.record() for frame in self.frames],
        }

    def _write_bag(self, path: Path) -> None:
        with BagWriter(path) as writer:
            for frame in self.localized:
                assert frame.map_from_body is not None
                assert frame.covariance is not None
                pose = types.pose_with_covariance(
                    frame.stamp, self.map_frame, frame.map_from_body, frame.covariance
                )
                writer.write(POSE_TOPIC, frame.received, pose)
                child, transform = self.body, frame.map_from_body
                if frame.map_from_odom is not None:
                    child, transform = self.odom_frame, frame.map_from_odom
                sent = types.tf(frame.stamp, self.map_frame, child, transform)
                writer.write("/tf", frame.received, sent)

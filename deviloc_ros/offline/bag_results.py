"""What `deviloc bag` leaves: trajectories, a bag of poses and transforms, and a summary."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.bags import types
from deviloc_ros.bags.left_out import LeftOut
from deviloc_ros.bags.reader import Recorded
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.datasets.poses import write_poses, write_tum
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.offline.bag_robot import BagRobot
from deviloc_ros.robot.base_pose import base_pose
from deviloc_ros.robot.outcome import Outcome, Refusal
from deviloc_ros.robot.search_state import Mode

POSE_TOPIC = "/localization/pose"


@dataclass(frozen=True)
class FrameResult:
    """What became of one image, or of a rig's images of one instant.

    Attributes:
        stamp: of the image, nanoseconds.
        received: when the bag received it, nanoseconds.
        camera_poses: camera_from_map of each camera that contributed, by name.
        map_from_body: pose of the reported frame, or None.
        covariance: (6, 6) of map_from_body, x y z rx ry rz in the map frame, or None.
        map_from_odom: where the bag has odometry.
        reason: why there is no pose; empty if there is one.
        details: of the reason.
        inliers: matches that agree with the pose.
        matches: 2D-3D matches.
        references: names of the reference images.
        stage_seconds: wall time per stage.
        mode: how much of the map was searched.
        prior: the search was near a prior.
        cameras: what each camera of a rig contributed, or why it did not.
        way: how the images were matched with their references; empty: it did not come to that.
        repeat: how many images before it had its stamp.
    """

    stamp: int
    received: int
    camera_poses: Mapping[str, Transform] = field(default_factory=dict)
    map_from_body: Transform | None = None
    covariance: NDArray[np.float64] | None = None
    map_from_odom: Transform | None = None
    reason: str = ""
    details: str = ""
    inliers: int = 0
    matches: int = 0
    references: tuple[str, ...] = ()
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    mode: Mode = Mode.GLOBAL
    prior: bool = False
    cameras: Mapping[str, str] = field(default_factory=dict)
    way: str = ""
    repeat: int = 0

    @staticmethod
    def of(
        outcome: Outcome, received: int, map_from_odom: Transform | None, mode: Mode, prior: bool
    ) -> FrameResult:
        """Take what is written of an outcome, but not its pixels and matches."""
        seen = FrameResult(
            outcome.frames.stamp,
            received,
            inliers=outcome.num_inliers,
            matches=outcome.num_matches,
            references=outcome.references,
            stage_seconds=dict(outcome.stage_seconds),
            mode=mode,
            prior=prior,
            cameras=outcome.cameras,
            way=outcome.way.value if outcome.way is not None else "",
        )
        result = outcome.result
        if isinstance(result, Refusal):
            return replace(seen, reason=result.reason.name, details=result.details)
        views = {name: view for name, view in result.views.items() if view.num_inliers}
        return replace(
            seen,
            camera_poses={name: view.camera_from_map for name, view in views.items()},
            map_from_body=result.pose.map_from_base,
            covariance=result.pose.covariance,
            map_from_odom=map_from_odom,
        )

    @property
    def name(self) -> str:
        """The image's name in pose files: its stamp in seconds, with _1, _2 ... if it repeats."""
        seconds, rest = divmod(self.stamp, NANOSECONDS)
        return f"{seconds}.{rest:09d}" + (f"_{self.repeat}" if self.repeat else "")

    def record(self) -> dict[str, Any]:
        """Return the image's entry in summary.json."""
        entry: dict[str, Any] = {"name": self.name, "localized": self.map_from_body is not None}
        if self.covariance is not None:
            entry["covariance"] = self.covariance.ravel().tolist()
        else:
            entry |= {"reason": self.reason, "details": self.details}
        if self.cameras:
            entry["cameras"] = dict(self.cameras)
        return entry | {
            "inliers": self.inliers,
            "matches": self.matches,
            "references": list(self.references),
            "way": self.way,
            "search": self.mode.name,
            "prior": self.prior,
            "stage_seconds": self.stage_seconds,
        }


@dataclass(frozen=True)
class BagRun:
    """A localized bag.

    Attributes:
        map_path: the map.
        robot: what was localized.
        frames: one result an image, or an instant of a rig, in the order of their turn.
        interrupted: the user ended it early.
        left_out: messages that could not be read.
        damage: what is wrong with the bag after these images; empty: nothing.
    """

    map_path: Path
    robot: BagRobot
    frames: list[FrameResult]
    interrupted: bool = False
    left_out: list[LeftOut] = field(default_factory=list)
    damage: str = ""

    @property
    def localized(self) -> list[FrameResult]:
        """The images with a pose."""
        return [frame for frame in self.frames if frame.map_from_body is not None]

    @property
    def body(self) -> str:
        """The frame whose poses are reported."""
        return self.robot.config.frames.base

    def as_interrupted(self) -> BagRun:
        """Return the same, ended early."""
        return replace(self, interrupted=True)

    def leave_out(self, recorded: Recorded, error: InputError) -> None:
        """Note a message that cannot be read."""
        self.left_out.append(LeftOut(recorded.topic, recorded.stamp, str(error)))

    def line(self) -> str:
        """Return the one-line summary."""
        cameras = self.robot.cameras
        what = f"images of {cameras[0].topic.name}"
        if len(cameras) > 1:
            what = f"instants of {', '.join(camera.name for camera in cameras)}"
        text = (
            f"{len(self.localized)} of {len(self.frames)} {what} localized; "
            f"poses of {self.body} in {self.robot.config.frames.map}"
        )
        reasons = Counter(frame.reason for frame in self.frames if frame.reason)
        if reasons:
            text += "; without a pose: " + ", ".join(f"{n} {r}" for r, n in reasons.most_common())
        if self.left_out:
            text += f"; {len(self.left_out)} messages could not be read"
        if self.interrupted:
            text += " (interrupted)"
        return text

    @property
    def camera_poses(self) -> dict[str, Transform]:
        """camera_from_map by the name that pose files have."""
        return {
            f"{frame.name}/{camera}" if camera else frame.name: camera_from_map
            for frame in self.localized
            for camera, camera_from_map in frame.camera_poses.items()
        }

    @property
    def camera_covariances(self) -> dict[str, NDArray[np.float64]]:
        """Covariance (6, 6) of map_from_camera by the same names."""
        return {
            f"{frame.name}/{camera}" if camera else frame.name: base_pose(
                frame.map_from_body, frame.covariance, camera_from_map @ frame.map_from_body
            ).covariance
            for frame in self.localized
            for camera, camera_from_map in frame.camera_poses.items()
            if frame.covariance is not None and frame.map_from_body is not None
        }

    def write(self, folder: Path, view: str | None = None) -> None:
        """Write poses_tum.txt, poses.txt, summary.json and the bag `poses`.

        Args:
            folder: gets them.
            view: a page in the folder that summary.json is to name.

        Raises:
            InputError: the folder cannot be written to.
        """
        localized = self.localized
        trajectory = [(f.stamp, f.map_from_body) for f in localized if f.map_from_body]
        write_tum(folder / "poses_tum.txt", trajectory)
        write_poses(folder / "poses.txt", self.camera_poses)
        self._write_bag(folder / "poses")
        with atomic_path(folder / "summary.json") as path:
            summary = self._summary() | ({} if view is None else {"view": view})
            path.write_text(json.dumps(summary, indent=1), encoding="utf-8")

    def _summary(self) -> dict[str, Any]:
        stages = [frame.stage_seconds for frame in self.frames if frame.stage_seconds]
        names = list(dict.fromkeys(name for stage in stages for name in stage))
        by_name = {camera.name: camera.topic.name for camera in self.robot.cameras}
        topics = {"topic": by_name[""]} if "" in by_name else {"topics": by_name}
        return {
            "map": str(self.map_path),
            "bag": str(self.robot.bag.path),
            **topics,
            "frame": self.body,
            "map_frame": self.robot.config.frames.map,
            "odometry": self.robot.odometry,
            "images": len(self.frames),
            "localized": len(self.localized),
            "interrupted": self.interrupted,
            "left_out": [str(item) for item in self.left_out],
            "damage": self.damage,
            "median_stage_seconds": {
                name: statistics.median(stage[name] for stage in stages if name in stage)
                for name in names
            },
            "frames": [frame.record() for frame in self.frames],
        }

    def _write_bag(self, path: Path) -> None:
        frames = self.robot.config.frames
        with BagWriter(path) as writer:
            for frame in self.localized:
                assert frame.map_from_body is not None
                assert frame.covariance is not None
                pose = types.pose_with_covariance(
                    frame.stamp, frames.map, frame.map_from_body, frame.covariance
                )
                writer.write(POSE_TOPIC, frame.received, pose)
                child, transform = self.body, frame.map_from_body
                if frame.map_from_odom is not None:
                    child, transform = frames.odom, frame.map_from_odom
                sent = types.tf(frame.stamp, frames.map, child, transform)
                writer.write("/tf", frame.received, sent)

"""`ros2 run deviloc_ros pose_recorder`: what the node says, recorded and compared with truth."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.poses import read_tum, write_tum
from deviloc_ros.errors import InputError
from deviloc_ros.evaluation.errors import BENCHMARK_THRESHOLDS, Evaluation, evaluate_poses
from deviloc_ros.evaluation.tables import summary_text, to_json
from deviloc_ros.geometry.trajectory import Trajectory
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import stamp_ns, transform_of
from deviloc_ros.robot.told_once import ToldOnce
from deviloc_ros.ros.process import Termination, run, spin

LOCALIZED = "LOCALIZED"

PARAMETERS: dict[str, tuple[Any, str]] = {
    "output": ("", "folder for poses_tum.txt and summary.json; required"),
    "truth": ("", "true poses of the base, lines 'stamp tx ty tz qx qy qz qw'; empty: topic truth"),
    "silence": (
        10.0,
        "end when playback is over and the node has said nothing for so long, s; "
        "0: not before a signal",
    ),
}
"""Parameter: its default and its meaning."""


class PoseRecorder(Node):
    """Listens to `pose` and `status` of the node, to `truth`, and to whether /clock is played.

    Raises:
        InputError: a parameter is wrong, or the truth cannot be read.
    """

    def __init__(self, **options: Any) -> None:
        """Subscribe."""
        super().__init__("pose_recorder", **options)
        for name, (default, text) in PARAMETERS.items():
            self.declare_parameter(name, default, ParameterDescriptor(description=text))
        self.output, truth = Path(self._value("output")), self._value("truth")
        if not self._value("output"):
            self.destroy_node()
            raise InputError("parameter output is empty; name a folder for the results")
        self.truth: dict[int, Transform] = dict(read_tum(Path(truth).expanduser())) if truth else {}
        self.poses: dict[int, Transform] = {}
        self.status: dict[int, str] = {}
        self._played = False
        self._heard = time.monotonic()
        self._ignored = ToldOnce(lambda text: self.get_logger().warning(text))
        deep = QoSProfile(depth=1000)
        self.create_subscription(PoseWithCovarianceStamped, "pose", self._on_pose, deep)
        self.create_subscription(DiagnosticArray, "status", self._on_status, deep)
        if not truth:
            self.create_subscription(PoseStamped, "truth", self._on_truth, deep)

    @property
    def finished(self) -> bool:
        """Whether playback is over and the node has nothing more to say."""
        playing = self.count_publishers("/clock") > 0
        self._played |= playing
        if playing:
            self._heard = time.monotonic()
        silence = float(self._value("silence"))
        return self._played and 0 < silence < time.monotonic() - self._heard

    def evaluation(self) -> Evaluation | None:
        """Return the errors of all images whose true pose is known; None if there is none."""
        stamps = sorted(self.truth)
        if not stamps:
            return None
        trajectory = Trajectory(
            np.array(stamps, dtype=np.int64),
            np.array([self.truth[stamp].translation for stamp in stamps]),
            Rotation.concatenate([self.truth[stamp].rotation for stamp in stamps]),
        )
        truth = {stamp: trajectory.at(stamp) for stamp in self.status | self.poses}
        known = {str(stamp): pose.inverse() for stamp, pose in truth.items() if pose is not None}
        found = {str(stamp): pose.inverse() for stamp, pose in self.poses.items()}
        return evaluate_poses(found, known) if known else None

    def write(self) -> str:
        """Write the results into the folder; return what is to be told.

        Raises:
            InputError: the folder cannot be written to.
        """
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.output}: cannot be made ({error.strerror})") from None
        write_tum(self.output / "poses_tum.txt", sorted(self.poses.items()))
        reasons = Counter(text for text in self.status.values() if text != LOCALIZED)
        summary = {
            "images": len(self.status),
            "localized": len(self.poses),
            "refused": dict(reasons.most_common()),
        }
        evaluation = self.evaluation()
        text = f"{len(self.poses)} poses of {len(self.status)} images"
        if evaluation is not None:
            summary["errors"] = to_json(evaluation, BENCHMARK_THRESHOLDS)
            text += "\n" + summary_text(evaluation, BENCHMARK_THRESHOLDS)
        with atomic_path(self.output / "summary.json") as path:
            path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        return f"{text}\n{self.output / 'summary.json'}"

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        self._heard = time.monotonic()
        try:
            self.poses[stamp_ns(message.header.stamp)] = transform_of(message.pose.pose)
        except InputError as error:
            self._ignored.tell("pose", f"pose: {error}; such poses are not recorded")

    def _on_status(self, message: DiagnosticArray) -> None:
        self._heard = time.monotonic()
        if message.status:
            self.status[stamp_ns(message.header.stamp)] = message.status[0].message

    def _on_truth(self, message: PoseStamped) -> None:
        try:
            self.truth[stamp_ns(message.header.stamp)] = transform_of(message.pose)
        except InputError as error:
            self._ignored.tell("truth", f"truth: {error}; such poses are not recorded")


def main(arguments: Sequence[str] | None = None) -> int:
    """Record until playback is over or a signal comes, then write.

    Returns:
        0, 2 for a wrong parameter, 3 if no pose came.
    """
    # What was recorded must be written, however long it is.
    termination = Termination(grace=60.0)

    def record() -> int:
        node = PoseRecorder()
        spin(node, termination, lambda: node.finished)
        print(node.write(), flush=True)
        return 0 if node.poses else 3

    return run(record, arguments, termination)


if __name__ == "__main__":
    sys.exit(main())

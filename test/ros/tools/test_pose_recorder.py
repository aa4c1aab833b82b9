"""What the node says is written down and compared with the truth, over real DDS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rclpy.context import Context
from rclpy.parameter import Parameter
from robot import Robot
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.poses import read_tum, write_tum
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.base_pose import BasePose
from deviloc_ros.ros.messages import pose_message, stamp_message
from deviloc_ros.ros.tools.pose_recorder import PoseRecorder

pytestmark = pytest.mark.ros

SECOND = 1_000_000_000


def pose_of(index: float) -> Transform:
    turn = Rotation.from_euler("z", 10 * index, degrees=True)
    return Transform(turn, np.array([index, 0.0, 0.0]))


@pytest.fixture
def recorder(robot: Robot, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator:
    """The recorder, with true poses every 0.4 s of a drive at 1 m/s unless told otherwise."""
    values = {"output": str(tmp_path / "deep" / "result"), "silence": 0.5}
    if getattr(request, "param", "file") == "file":
        write_tum(
            tmp_path / "truth.txt", [(round(t * SECOND), pose_of(t)) for t in np.arange(0, 6, 0.4)]
        )
        values["truth"] = str(tmp_path / "truth.txt")
    node = PoseRecorder(
        context=robot.context,
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    robot.executor.add_node(node)
    yield node
    node.destroy_node()


class Speaker:
    """Says what the node would."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        publish = robot.peer.create_publisher
        self.pose = publish(PoseWithCovarianceStamped, "pose", 10)
        self.status = publish(DiagnosticArray, "status", 10)
        self.truth = publish(PoseStamped, "truth", 10)
        robot.spin_until(lambda: self.status.get_subscription_count() == 1, seconds=60)
        robot.spin_until(lambda: self.pose.get_subscription_count() == 1, seconds=60)

    def say(self, seconds: int, text: str, error: float = 0.0) -> None:
        message = DiagnosticArray(status=[DiagnosticStatus(message=text)])
        message.header.stamp = stamp_message(seconds * SECOND)
        self.status.publish(message)
        if text == "LOCALIZED":
            off = Transform(Rotation.identity(), np.array([0.0, error, 0.0]))
            pose = BasePose(pose_of(seconds) @ off, np.eye(6))
            self.pose.publish(pose_message("map", seconds * SECOND, pose))


def test_poses_are_written_and_compared_with_interpolated_truth(
    robot: Robot, recorder: PoseRecorder, tmp_path: Path
) -> None:
    speaker = Speaker(robot)
    speaker.say(1, "LOCALIZED", error=0.1)
    speaker.say(2, "LOCALIZED", error=0.3)
    speaker.say(3, "TOO_FEW_INLIERS")
    speaker.say(99, "LOCALIZED")
    robot.spin_until(lambda: len(recorder.status) == 4 and len(recorder.poses) == 3, seconds=60)
    text = recorder.write()
    assert "3 poses of 4 images" in text
    folder = tmp_path / "deep" / "result"
    written = dict(read_tum(folder / "poses_tum.txt"))
    assert sorted(written) == [SECOND, 2 * SECOND, 99 * SECOND]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["refused"] == {"TOO_FEW_INLIERS": 1}
    errors = summary["errors"]
    # 1 and 3 s lie between true poses; at 99 s there is none.
    assert errors["num_images"] == 3
    assert errors["num_localized"] == 2
    assert errors["median_position_error_m"] == pytest.approx(0.2, abs=1e-6)
    assert errors["median_rotation_error_deg"] == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("recorder", ["topic"], indirect=True)
def test_truth_may_come_on_a_topic(robot: Robot, recorder: PoseRecorder) -> None:
    speaker = Speaker(robot)
    robot.spin_until(lambda: speaker.truth.get_subscription_count() == 1, seconds=60)
    for seconds in (1, 2):
        message = PoseStamped()
        message.header.stamp = stamp_message(seconds * SECOND)
        message.pose = pose_message("map", 0, BasePose(pose_of(seconds), np.eye(6))).pose.pose
        speaker.truth.publish(message)
        speaker.say(seconds, "LOCALIZED", error=0.5)
    robot.spin_until(lambda: len(recorder.truth) == 2 and len(recorder.poses) == 2, seconds=60)
    evaluation = recorder.evaluation()
    assert evaluation is not None
    assert evaluation.median_position == pytest.approx(0.5)


def test_it_is_over_when_playback_is_and_the_node_is_silent(
    robot: Robot, recorder: PoseRecorder
) -> None:
    robot.spin(1.0)
    # Nothing was played yet: a node that loads its map is silent too.
    assert not recorder.finished
    clock = robot.peer.create_publisher(Clock, "/clock", 1)
    robot.spin_until(lambda: recorder.count_publishers("/clock") == 1, seconds=60)
    assert not recorder.finished
    robot.spin(1.0)
    assert not recorder.finished
    robot.peer.destroy_publisher(clock)
    robot.spin_until(lambda: recorder.finished, seconds=60)


def test_a_folder_is_needed(context: Context) -> None:
    with pytest.raises(InputError, match="output is empty"):
        PoseRecorder(context=context)

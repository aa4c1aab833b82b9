"""The node over real DDS: what comes in, what goes out, and what does not."""

from __future__ import annotations

import array
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot import BASE_FROM_CAMERA, FakeLocalizer, Robot, base_in_map, read_pose
from sensor_msgs.msg import CompressedImage, Image

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.localization.types import FailureReason, LocalizationFailure
from deviloc_ros.messages.stamped import stamp_ns

pytestmark = pytest.mark.ros


def test_pose_of_the_base_at_the_images_stamp(robot: Robot) -> None:
    robot.start()
    robot.send_image(30, stamp=12.345678901)
    robot.spin_until(lambda: len(robot.poses) == 1)
    message = robot.poses[0]
    assert message.header.frame_id == "map"
    assert stamp_ns(message.header.stamp) == 12_345_678_901
    np.testing.assert_allclose(read_pose(message).matrix, base_in_map(30).matrix, atol=1e-12)
    covariance = np.reshape(message.pose.covariance, (6, 6))
    np.testing.assert_allclose(covariance, covariance.T)
    np.testing.assert_allclose(np.diag(covariance)[3:], [1e-4, 2e-4, 3e-4])
    assert np.all(np.diag(covariance)[:3] > [0.01, 0.02, 0.03])
    assert robot.last_status()[0] == "LOCALIZED"


def test_refusal_publishes_no_pose_but_the_reason(robot: Robot) -> None:
    robot.start()
    robot.send_image(0, stamp=3.0)
    robot.spin_until(lambda: len(robot.status) == 1)
    robot.spin(0.2)
    text, values = robot.last_status()
    assert (text, values["details"], values["inliers"]) == ("TOO_FEW_INLIERS", "3 < 30", "3")
    assert stamp_ns(robot.status[0].header.stamp) == 3_000_000_000
    assert robot.poses == []
    assert robot.transforms == []


def test_missing_extrinsics_are_never_the_identity(robot: Robot) -> None:
    robot.start(extrinsics=False)
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.status) == 1)
    text, values = robot.last_status()
    assert text == "NO_EXTRINSICS"
    assert "base_link" in values["details"] or "camera" in values["details"]
    robot.send_static("base_link", "camera", BASE_FROM_CAMERA)
    robot.spin(0.2)
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)


def test_extrinsics_from_parameters(robot: Robot) -> None:
    robot.start(
        extrinsics=False,
        extrinsics__source="parameters",
        extrinsics__translation=BASE_FROM_CAMERA.translation.tolist(),
        extrinsics__rotation=BASE_FROM_CAMERA.quaternion_xyzw.tolist(),
    )
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)
    np.testing.assert_allclose(read_pose(robot.poses[0]).matrix, base_in_map(30).matrix, atol=1e-9)


def test_camera_frame_parameter_goes_before_the_images_frame(robot: Robot) -> None:
    robot.start(frames__camera="camera")
    header = Image().header
    header.frame_id = "driver_made_this_up"
    robot.send_image(30, header=header)
    robot.spin_until(lambda: len(robot.poses) == 1)


def test_no_calibration_then_late_calibration(robot: Robot) -> None:
    robot.start(calibrate=False)
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.status) == 1)
    assert robot.last_status()[0] == "NO_CALIBRATION"
    robot.send_info()
    robot.spin(0.2)
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)
    # ROS counts from the centre of the first pixel, COLMAP from its corner.
    assert robot.localizer.cameras[0].params[2:4] == (32.0, 24.0)


def test_calibration_latched_before_the_node_started(robot: Robot) -> None:
    robot.send_info()
    robot.start(calibrate=False)
    robot.send_image(30)  # refused, but makes the node ask for what is kept
    robot.spin(0.5)
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)


@pytest.mark.parametrize(
    ("info", "changes", "reason"),
    [
        ((32, 24), {}, "BAD_CALIBRATION"),
        ((64, 48), {"encoding": "32FC1"}, "BAD_IMAGE"),
        ((64, 48), {"step": 10}, "BAD_IMAGE"),
        ((64, 48), {"data": b""}, "BAD_IMAGE"),
        ((64, 48), {"height": 0, "data": b""}, "BAD_IMAGE"),
    ],
)
def test_unusable_messages_are_refused_with_a_reason(
    robot: Robot, info: tuple[int, int], changes: dict[str, Any], reason: str
) -> None:
    robot.start(calibrate=False)
    robot.send_info(*info)
    robot.spin(0.2)
    robot.send_image(30, **changes)
    robot.spin_until(lambda: len(robot.status) == 1)
    assert robot.last_status()[0] == reason
    assert robot.poses == []


def test_compressed_transport(robot: Robot) -> None:
    publisher = robot.peer.create_publisher(CompressedImage, "/image/compressed", 10)
    node = robot.add_node(image__transport="compressed")
    assert node.start()
    robot.spin_until(lambda: publisher.get_subscription_count() == 1)
    robot.send_info()
    robot.send_static("base_link", "camera", BASE_FROM_CAMERA)
    robot.spin(0.3)
    message = CompressedImage(format="mono8; png compressed")
    message.header.frame_id = "camera"
    png = cv2.imencode(".png", np.full((48, 64), 30, np.uint8))[1]
    message.data = array.array("B", png.tobytes())
    publisher.publish(message)
    robot.spin_until(lambda: len(robot.poses) == 1)


def test_fault_of_the_localizer_does_not_end_the_node(robot: Robot) -> None:
    robot.start(diagnostics__period=0.1)
    robot.localizer.error = RuntimeError("out of memory")
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.status) == 1)
    text, values = robot.last_status()
    assert text == "INTERNAL_ERROR"
    assert "out of memory" in values["details"]
    robot.localizer.error = None
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)
    robot.diagnostics.clear()
    robot.spin_until(lambda: bool(robot.diagnostics))
    assert robot.diagnostics[-1].status[0].level == DiagnosticStatus.ERROR


def test_a_damaged_tile_is_told_once_and_raises_the_level(robot: Robot) -> None:
    told: list[Log] = []
    robot.peer.create_subscription(Log, "/rosout", told.append, 100)
    robot.start(diagnostics__period=0.1)
    words = "city/007.devmap: the map is damaged"

    def localize(*_: object) -> LocalizationFailure:
        return LocalizationFailure(FailureReason.DAMAGED_MAP, words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robot.localizer, "localize", localize)
        for count in (1, 2, 3):
            robot.send_image(30)
            robot.spin_until(lambda: len(robot.status) == count)  # noqa: B023
    assert robot.last_status() == ("DAMAGED_MAP", robot.last_status()[1])
    assert robot.last_status()[1]["details"] == words
    robot.diagnostics.clear()
    robot.spin_until(lambda: bool(robot.diagnostics))
    status = robot.diagnostics[-1].status[0]
    assert status.level == DiagnosticStatus.ERROR
    assert "the map is damaged" in status.message
    assert {item.key: item.value for item in status.values}["damaged_map"] == "3"
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)
    robot.spin_until(lambda: any(log.msg == words for log in told))
    robot.spin(0.3)
    assert [log.msg for log in told if log.level >= 40] == [words]


def test_newest_frame_wins_and_dropped_ones_are_counted(robot: Robot) -> None:
    robot.start(diagnostics__period=0.1, image__depth=10, image__reliability="reliable")
    robot.localizer.seconds = 0.4
    robot.send_image(1, stamp=1.0)
    robot.spin_until(lambda: len(robot.localizer.images) == 1)
    for index in range(2, 9):
        robot.send_image(index, stamp=float(index))
        robot.spin(0.02)
    robot.spin_until(lambda: len(robot.poses) == 2)
    assert [message.header.stamp.sec for message in robot.poses] == [1, 8]
    robot.diagnostics.clear()
    robot.spin_until(lambda: bool(robot.diagnostics))
    values = {item.key: item.value for item in robot.diagnostics[-1].status[0].values}
    assert (values["frames_received"], values["frames_dropped"]) == ("8", "6")
    assert values["frames_localized"] == "2"
    # The stamps are of 1970 and the clock is not: every result is late.
    assert values["frames_late"] == "2"
    assert robot.diagnostics[-1].status[0].level == DiagnosticStatus.ERROR
    assert robot.diagnostics[-1].status[0].message.startswith("results come far too late")


def test_debug_image_shows_the_matches(robot: Robot) -> None:
    pictures: list[Image] = []
    robot.peer.create_subscription(Image, "/localization/debug_image", pictures.append, 1)
    robot.start(debug__publish_image=True)
    node = robot.node
    assert node is not None
    robot.spin_until(lambda: node.count_subscribers("/localization/debug_image") == 1)
    robot.spin(0.2)
    robot.send_image(30, stamp=2.0)
    robot.spin_until(lambda: len(pictures) == 1)
    picture = np.frombuffer(pictures[0].data, np.uint8).reshape(48, 64, 3)
    assert pictures[0].header.stamp.sec == 2
    assert tuple(picture[40, 10]) == (0, 220, 0)


def test_wrong_parameters_are_refused_at_start(robot: Robot) -> None:
    for parameters, named in (
        ({"features__max_size": 1}, "features.max_size"),
        ({"feature__max_size": 640}, "feature is not a known key"),
        ({"tf__publish": "map_to_moon"}, "tf.publish"),
        ({"extrinsics__source": "parameters"}, "extrinsics"),
        ({"prior__restore": True}, "prior.file"),
        ({"frames__map": 7}, "frames.map"),
    ):
        with pytest.raises(InputError, match=named):
            robot.add_node(**parameters)


def test_parameters_are_described_bounded_and_kept_while_configured(robot: Robot) -> None:
    # An integer where a double is meant is taken as one.
    node = robot.add_node(tf__tolerance=2)
    assert node.get_parameter("tf.tolerance").value == 2.0
    descriptor = node.describe_parameter("features.max_size")
    assert descriptor.description
    assert descriptor.integer_range[0].from_value == 64
    assert node.describe_parameter("autostart").read_only
    assert not node.set_parameters([Parameter("features.max_size", value=1)])[0].successful
    refused = node.set_parameters([Parameter("matching.matcher", value="sift")])[0]
    assert "xfeat" in refused.reason
    assert node.set_parameters([Parameter("features.max_size", value=640)])[0].successful
    assert node.start()
    refused = node.set_parameters([Parameter("features.max_size", value=800)])[0]
    assert not refused.successful
    assert "deactivate" in refused.reason
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.set_parameters([Parameter("features.max_size", value=800)])[0].successful


def test_configuration_reaches_the_localizer(robot: Robot) -> None:
    seen: list[tuple[Path, LocalizerConfig]] = []

    def load(path: Path, config: LocalizerConfig) -> FakeLocalizer:
        seen.append((path, config))
        return robot.localizer

    node = robot.add_node(load=load, features__max_size=640, retrieval__num_references=3)
    assert node.start()
    path, config = seen[0]
    assert path == Path("street.devmap")
    assert (config.features.max_size, config.retrieval.num_references) == (640, 3)


def test_bad_map_is_told_and_can_be_mended(robot: Robot) -> None:
    def load(path: Path, config: LocalizerConfig) -> FakeLocalizer:
        if path.name == "broken.devmap":
            raise InputError(f"{path}: is damaged")
        return robot.localizer

    node = robot.add_node(load=load, map__path="broken.devmap", diagnostics__period=0.1)
    assert not node.start()
    robot.spin_until(lambda: bool(robot.diagnostics))
    status = robot.diagnostics[-1].status[0]
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, "broken.devmap: is damaged")
    node.set_parameters([Parameter("map.path", value="street.devmap")])
    assert node.start()


def test_no_map_is_refused(robot: Robot) -> None:
    assert not robot.add_node(map__path="").start()


def test_states_can_be_walked_through_again_and_again(robot: Robot) -> None:
    robot.start()
    node = robot.node
    assert node is not None
    for round_number in range(1, 4):
        robot.spin_until(lambda: robot.image_publisher.get_subscription_count() == 1)
        robot.spin(0.2)
        robot.send_image(10 * round_number)
        robot.spin_until(lambda n=round_number: len(robot.poses) == n)
        node.trigger_deactivate()
        robot.send_image(5)
        robot.spin(0.1)
        assert len(robot.poses) == round_number
        if round_number == 2:
            node.trigger_cleanup()
            node.trigger_configure()
            robot.send_static("base_link", "camera", BASE_FROM_CAMERA)
        node.trigger_activate()
    node.trigger_shutdown()
    robot.send_image(5)
    robot.spin(0.2)
    assert len(robot.poses) == 3


def test_who_comes_late_and_asks_for_the_last_pose_gets_it(robot: Robot) -> None:
    """As from AMCL: Nav2's BasicNavigator subscribes to the pose transient local."""
    robot.start()
    robot.send_image(30)
    robot.send_image(40, stamp=2.0)
    robot.spin_until(lambda: bool(robot.poses) and robot.poses[-1].header.stamp.sec == 2)
    late: list[PoseWithCovarianceStamped] = []
    topic = "/localization/pose"
    last = QoSProfile(
        depth=1,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        reliability=ReliabilityPolicy.RELIABLE,
    )
    robot.peer.create_subscription(PoseWithCovarianceStamped, topic, late.append, last)
    robot.spin_until(lambda: bool(late))
    robot.spin(0.2)
    assert [message.header.stamp.sec for message in late] == [2]


def test_images_without_a_stamp_are_told_once(robot: Robot) -> None:
    told: list[str] = []
    robot.peer.create_subscription(Log, "/rosout", lambda m: told.append(m.msg), 100)
    robot.start()
    for _ in range(3):
        before = len(robot.status)
        robot.send_image(30, stamp=0.0)
        robot.spin_until(lambda count=before: len(robot.status) > count)
    robot.spin_until(lambda: any("carry no stamp" in text for text in told))
    robot.spin(0.2)
    assert len([text for text in told if "carry no stamp" in text]) == 1

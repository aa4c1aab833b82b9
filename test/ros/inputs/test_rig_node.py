"""A rig of three cameras through the real node, over real DDS."""

from __future__ import annotations

import array
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from rclpy.context import Context
from rig_robot import MOUNTS, SMALL, FakeRigLocalizer, RigTopics
from robot import Robot
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import stamp_ns

pytestmark = pytest.mark.ros


@pytest.fixture
def fake() -> FakeRigLocalizer:
    return FakeRigLocalizer()


@pytest.fixture
def rig(context: Context, fake: FakeRigLocalizer) -> Iterator[RigTopics]:
    """The topics of a robot with three cameras, without its node."""
    robot = Robot(context, fake)
    yield RigTopics(robot, dict.fromkeys(MOUNTS, SMALL))
    robot.close()


def test_one_pose_from_all_cameras(rig: RigTopics, fake: FakeRigLocalizer) -> None:
    rig.start(sync__timeout=2.0)
    rig.calibrate()
    rig.mount(MOUNTS)
    for name, stamp, value in (("right", 5.01, 33), ("left", 5.0, 31), ("rear", 4.99, 32)):
        rig.send(name, stamp, value)
    rig.robot.spin_until(lambda: len(rig.robot.poses) == 1)
    message = rig.robot.poses[0]
    # The first camera's image gives the stamp, and with this localizer the pose.
    assert stamp_ns(message.header.stamp) == 5_000_000_000
    assert message.pose.pose.position.x == pytest.approx(3.1)
    [(values, cameras, mounts)] = fake.calls
    assert values == [31, 32, 33]
    assert cameras == [SMALL] * 3
    for mount, expected in zip(mounts, MOUNTS.values(), strict=True):
        np.testing.assert_allclose(mount.matrix, expected.matrix, atol=1e-12)
    text, values_of_status = rig.robot.last_status()
    assert text == "LOCALIZED"
    assert values_of_status["cameras"] == "left: 1 of 2; rear: 1 of 2; right: 1 of 2"


def test_a_missing_camera_is_waited_for_left_out_and_counted(
    rig: RigTopics, fake: FakeRigLocalizer
) -> None:
    rig.start(sync__timeout=0.3, diagnostics__period=0.2)
    assert fake.warm == len(MOUNTS)
    rig.calibrate()
    rig.mount(MOUNTS)
    rig.send("left", 1.0, 10)
    rig.send("right", 1.0, 10)
    rig.robot.spin(0.15)
    assert not fake.calls
    rig.robot.spin_until(lambda: len(rig.robot.poses) == 1)
    assert rig.robot.last_status()[1]["cameras"] == "rear: no image; left: 1 of 2; right: 1 of 2"
    rig.send("rear", 1.0, 10)  # too late
    rig.robot.spin(0.5)
    assert len(fake.calls) == 1
    expected = (
        "left: 1 received, 0 missing, 0 late; rear: 1 received, 1 missing, 1 late; "
        "right: 1 received, 0 missing, 0 late"
    )
    assert rig.cameras_in_diagnostics() == expected
    for name in MOUNTS:
        rig.send(name, 1.1, 20)
    rig.robot.spin_until(lambda: len(rig.robot.poses) == 2)
    assert fake.calls[-1][0] == [20, 20, 20]


def test_cameras_that_cannot_be_used_are_left_out_with_the_reason(
    rig: RigTopics, fake: FakeRigLocalizer
) -> None:
    rig.start()
    rig.calibrate("left")
    rig.calibrate("right", camera=SMALL.scaled(32, 24))
    rig.mount({"left": MOUNTS["left"], "right": MOUNTS["right"]})

    def told(stamp: float) -> tuple[str, str]:
        before = len(rig.robot.status)
        for name in MOUNTS:
            rig.send(name, stamp, 40)
        rig.robot.spin_until(lambda: len(rig.robot.status) > before)
        text, values = rig.robot.last_status()
        return text, values["cameras"]

    assert told(1.0) == ("LOCALIZED", "rear: NO_CALIBRATION; right: BAD_CALIBRATION; left: 1 of 2")
    rig.calibrate("rear", "right")  # late, and corrected
    assert told(2.0) == ("LOCALIZED", "rear: NO_EXTRINSICS; left: 1 of 2; right: 1 of 2")
    rig.mount({"rear": MOUNTS["rear"]})
    assert told(3.0) == ("LOCALIZED", "left: 1 of 2; rear: 1 of 2; right: 1 of 2")
    assert [len(values) for values, _, _ in fake.calls] == [1, 2, 3]


def test_without_any_usable_camera_there_is_a_reason_and_no_pose(rig: RigTopics) -> None:
    rig.start()
    rig.mount(MOUNTS)
    for name in MOUNTS:
        rig.send(name, 1.0, 40)
    rig.robot.spin_until(lambda: len(rig.robot.status) == 1)
    text, values = rig.robot.last_status()
    assert text == "NO_CALIBRATION"
    assert values["cameras"] == "left: NO_CALIBRATION; rear: NO_CALIBRATION; right: NO_CALIBRATION"
    rig.calibrate()
    for name in MOUNTS:
        rig.send(name, 2.0, 0)
    rig.robot.spin_until(lambda: len(rig.robot.status) == 2)
    assert rig.robot.last_status()[0] == "TOO_FEW_INLIERS"
    assert rig.robot.poses == []


def test_compressed_images_of_two_cameras(rig: RigTopics, fake: FakeRigLocalizer) -> None:
    node = rig.robot.add_node(cameras=["left", "right"], image__transport="compressed")
    assert node.start()
    publishers = {
        name: rig.robot.peer.create_publisher(CompressedImage, f"/{name}/image/compressed", 10)
        for name in ("left", "right")
    }
    for publisher in publishers.values():
        rig.robot.spin_until(lambda p=publisher: p.get_subscription_count() == 1)
    rig.calibrate("left", "right")
    rig.mount(MOUNTS)
    png = cv2.imencode(".png", np.full((48, 64), 70, np.uint8))[1].tobytes()
    for name, publisher in publishers.items():
        message = CompressedImage(format="png", data=array.array("B", png))
        message.header.frame_id = f"{name}_optical"
        publisher.publish(message)
    rig.robot.spin_until(lambda: len(fake.calls) == 1)
    assert fake.calls[0][0] == [70, 70]


def test_extrinsics_from_parameters(rig: RigTopics, fake: FakeRigLocalizer) -> None:
    rig.start(
        extrinsics__source="parameters",
        extrinsics__translation=[v for m in MOUNTS.values() for v in m.translation.tolist()],
        extrinsics__rotation=[v for m in MOUNTS.values() for v in m.quaternion_xyzw.tolist()],
    )
    rig.calibrate()
    for name in MOUNTS:
        rig.send(name, 1.0, 10)
    rig.robot.spin_until(lambda: len(fake.calls) == 1)
    for mount, expected in zip(fake.calls[0][2], MOUNTS.values(), strict=True):
        np.testing.assert_allclose(mount.matrix, expected.matrix, atol=1e-12)


def test_odometry_carries_images_to_the_stamp_of_the_set(
    rig: RigTopics, fake: FakeRigLocalizer
) -> None:
    """At 10 m/s the rear camera's image, 10 ms later, was taken 10 cm further on."""
    rig.start(sync__timeout=2.0)
    rig.calibrate()
    rig.mount(MOUNTS)
    for stamp in (0.9, 1.0, 1.1):
        at = Transform(Transform.identity().rotation, np.array([10.0 * stamp, 0.0, 0.0]))
        rig.robot.send_tf("odom", "base_link", stamp, at)
    rig.robot.spin(0.2)
    for name, stamp in (("left", 1.0), ("right", 1.0), ("rear", 1.01)):
        rig.send(name, stamp, 10)
    rig.robot.spin_until(lambda: len(fake.calls) == 1)
    left, rear, right = fake.calls[0][2]
    np.testing.assert_allclose(left.matrix, MOUNTS["left"].matrix, atol=1e-12)
    np.testing.assert_allclose(right.matrix, MOUNTS["right"].matrix, atol=1e-12)
    expected = MOUNTS["rear"].translation + np.array([0.1, 0.0, 0.0])
    np.testing.assert_allclose(rear.translation, expected, atol=1e-9)


def test_the_debug_image_shows_all_cameras(rig: RigTopics) -> None:
    rig.start(debug__publish_image=True)
    rig.calibrate("left", "right")
    rig.mount(MOUNTS)
    seen: list[Image] = []
    rig.robot.peer.create_subscription(Image, "/localization/debug_image", seen.append, 1)
    rig.robot.spin(0.3)
    for name in MOUNTS:
        rig.send(name, 1.0, 90)
    rig.robot.spin_until(lambda: len(seen) == 1)
    assert (seen[0].width, seen[0].height, seen[0].encoding) == (3 * 64, 48, "rgb8")
    assert stamp_ns(seen[0].header.stamp) == 1_000_000_000


def test_counts_go_on_over_a_pause_and_begin_anew_on_activation(rig: RigTopics) -> None:
    rig.start(diagnostics__period=0.2)
    rig.calibrate()
    rig.mount(MOUNTS)
    for name in MOUNTS:
        rig.send(name, 1.0, 90)
    rig.robot.spin_until(lambda: len(rig.robot.poses) == 1)
    client = rig.robot.peer.create_client(SetBool, "/localization/pause")
    for paused in (True, False):
        answer = client.call_async(SetBool.Request(data=paused))
        rig.robot.spin_until(answer.done)
        assert answer.result().success
    assert "left: 1 received" in rig.cameras_in_diagnostics()
    node = rig.robot.node
    assert node is not None
    node.trigger_deactivate()
    node.trigger_activate()
    assert "left: 0 received" in rig.cameras_in_diagnostics()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"cameras": ["left", "left"]}, ["names must differ"]),
        ({"cameras": ["left", "right camera"]}, ["right camera", "letters"]),
        ({"cameras": ["left", ""]}, ["letters"]),
        ({"frames__camera": "optical"}, ["frames.camera", "frame_id"]),
        (
            {"extrinsics__source": "parameters", "extrinsics__rotation": [0.0, 0.0, 0.0, 1.0]},
            ["extrinsics.translation has 3 numbers", "need 9"],
        ),
        (
            {
                "extrinsics__source": "parameters",
                "extrinsics__translation": [0.0] * 9,
                "extrinsics__rotation": [0.0, 0.0, 0.0, 1.0, 0.5, 0.5, 0.5, 0.5] + [0.1] * 4,
            },
            ["unit quaternion", "right"],
        ),
        ({"sync__timeout": 0.0}, ["sync.timeout"]),
    ],
)
def test_wrong_parameters_are_told(
    rig: RigTopics, parameters: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        rig.robot.add_node(**{"cameras": list(MOUNTS), **parameters})
    for word in words:
        assert word in str(error.value)

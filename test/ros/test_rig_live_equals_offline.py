"""What three cameras see, live over DDS and offline: the same poses, bit for bit."""

from __future__ import annotations

import pytest
from rclpy.context import Context
from rig_robot import FakeRigLocalizer, RigTopics
from rig_scene import VALUES, RigScene
from robot import Robot

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.messages.stamped import stamp_ns
from deviloc_ros.robot.base_pose import BasePose
from deviloc_ros.robot.config import ExtrinsicsConfig
from deviloc_ros.ros.messages import pose_message

pytestmark = pytest.mark.ros


def test_live_poses_are_the_offline_poses_also_without_a_camera(
    context: Context, rig_scene: RigScene
) -> None:
    """Three lenses; the rear camera misses every third instant."""
    config = build(LocalizerConfig, VALUES, "test")
    placed = [item.base_from_camera for item in rig_scene.rig]
    extrinsics = ExtrinsicsConfig(
        source="parameters",
        translation=[value for mount in placed for value in mount.translation],
        rotation=[value for mount in placed for value in mount.quaternion_xyzw],
    )
    mounts = extrinsics.mounts([item.name for item in rig_scene.rig])
    offline = Localizer.load(rig_scene.map_path, config)
    robot = Robot(context, FakeRigLocalizer())
    try:
        rig = RigTopics(robot, {item.name: item.camera for item in rig_scene.rig})
        rig.start(
            load=Localizer.load,
            map__path=str(rig_scene.map_path),
            image__reliability="reliable",
            extrinsics__source="parameters",
            extrinsics__translation=extrinsics.translation,
            extrinsics__rotation=extrinsics.rotation,
            sync__timeout=1.0,
            diagnostics__period=0.2,
            **{name.replace(".", "__"): value for name, value in VALUES.items()},
        )
        rig.calibrate()
        localized = 0
        for number, moment in enumerate(rig_scene.second):
            used = [item for item in rig_scene.rig if item.name != "rear" or number % 3 != 1]
            expected = offline.localize_rig(
                [moment.images[item.name] for item in used],
                [Camera(*_as_sent(item.camera)) for item in used],
                [mounts[item.name] for item in used],
            )
            for item in used:
                rig.send(item.name, moment.stamp * 1e-9, moment.images[item.name])
            robot.spin_until(lambda n=number: len(robot.status) == n + 1, seconds=60)
            if isinstance(expected, RigEstimate):
                localized += 1
                robot.spin_until(lambda n=localized: len(robot.poses) == n)
                stamp = stamp_ns(robot.poses[-1].header.stamp)
                pose = BasePose(expected.map_from_base, expected.covariance)
                # Equality of messages compares every float of pose and covariance.
                assert robot.poses[-1] == pose_message("map", stamp, pose)
            else:
                assert robot.last_status()[0] == expected.reason.name
        count = len(rig_scene.second)
        assert localized >= 0.8 * count
        without = len(range(1, count, 3))
        assert f"rear: {count - without} received, {without} missing, 0 late" in (
            rig.cameras_in_diagnostics()
        )
    finally:
        robot.close()


def _as_sent(camera: Camera) -> tuple[str, int, int, tuple[float, ...]]:
    """Return the camera after its way through CameraInfo, half a pixel there and back."""
    fx, fy, cx, cy, *rest = camera.params
    params = (fx, fy, cx - 0.5 + 0.5, cy - 0.5 + 0.5, *rest)
    return camera.model, camera.width, camera.height, params

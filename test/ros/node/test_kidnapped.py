"""A robot that is carried away while its odometry stands still, on the simulated street."""

from __future__ import annotations

import pytest
from rclpy.context import Context
from rig_robot import FakeRigLocalizer, RigTopics
from rig_scene import VALUES, RigScene
from robot import Robot, read_pose

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.rig.types import RigEstimate
from deviloc_ros.localization.types import LocalizationFailure
from deviloc_ros.simulation.rig_drive import RigMoment

pytestmark = pytest.mark.ros


def test_a_kidnapped_robot_is_found_within_three_frames(
    context: Context,
    rig_scene: RigScene,
    rig_localizer: Localizer,
    rig_results: list[RigEstimate | LocalizationFailure],
) -> None:
    # Images that could be localized anywhere: what is refused is refused because of the prior.
    drive = [
        moment
        for moment, found in zip(rig_scene.second, rig_results, strict=True)
        if isinstance(found, RigEstimate)
    ]
    assert len(drive) >= 7
    robot = Robot(context, FakeRigLocalizer())
    rig = RigTopics(robot, {item.name: item.camera for item in rig_scene.rig})
    origin = Transform.from_quaternion((0.6, 0.0, 0.0, 0.8), (70.0, -30.0, 0.0))
    try:
        parameters = {name.replace(".", "__"): value for name, value in VALUES.items()}
        rig.start(
            load=lambda path, config: rig_localizer,
            map__path=str(rig_scene.map_path),
            image__reliability="reliable",
            sync__timeout=2.0,
            **parameters,
        )
        rig.calibrate()
        rig.mount({item.name: item.base_from_camera for item in rig_scene.rig})

        def show(moment: RigMoment, odom_from_base: Transform, stamp: float) -> tuple[str, str]:
            """Send the images of a moment; return what became of them, and the mode after that."""
            robot.send_tf("odom", "base_link", stamp - 0.01, odom_from_base)
            robot.send_tf("odom", "base_link", stamp + 0.01, odom_from_base)
            robot.spin(0.2)
            before = len(robot.status)
            for name, image in moment.images.items():
                rig.send(name, stamp, image)
            robot.spin_until(lambda: len(robot.status) == before + 1, seconds=60)
            return robot.last_status()[0], robot.modes[-1][0]

        where, stamp = origin, 1.0
        for moment in drive:
            where, stamp = origin @ moment.map_from_base, stamp + 0.4
            assert show(moment, where, stamp) == ("LOCALIZED", "TRACKING")
        poses = len(robot.poses)
        told = []
        for moment in drive[:3]:
            stamp += 0.4
            told.append(show(moment, where, stamp))
        assert told[0][0] != "LOCALIZED"
        assert told[0][1] == "TRACKING"
        assert told[1][0] != "LOCALIZED"
        assert told[1][1] == "GLOBAL"
        assert told[2] == ("LOCALIZED", "TRACKING")
        robot.spin_until(lambda: len(robot.poses) == poses + 1)
        truth = drive[2].map_from_base
        assert read_pose(robot.poses[-1]).distance_to(truth)[0] < 0.5
        assert drive[-1].map_from_base.distance_to(truth)[0] > 5.0
    finally:
        robot.close()

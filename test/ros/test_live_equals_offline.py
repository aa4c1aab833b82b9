"""The same images through DDS and through `Localizer` alone: the same poses, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from robot import Robot
from sensor_msgs.msg import CameraInfo

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.types import LocalizationFailure, Way
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.robot.base_pose import base_pose
from deviloc_ros.ros.messages import pose_message

pytestmark = [pytest.mark.ros, pytest.mark.real]

WIDTH, HEIGHT = 768, 512
VALUES = {"features.max_size": 512, "features.num_keypoints": 1024, "device": "cpu"}


@pytest.fixture(scope="module")
def scene(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Camera]:
    """Return a map of every second fountain image, the folder of the others, and their camera."""
    source, folder = data_dir / "fountain-P11", tmp_path_factory.mktemp("fountain")
    camera = Camera.parse(
        (source / "cameras.txt").read_text().splitlines()[-1].split(maxsplit=1)[1]
    ).scaled(WIDTH, HEIGHT)
    (folder / "model").mkdir()
    (folder / "model" / "cameras.txt").write_text(f"1 {camera}\n")
    (folder / "model" / "points3D.txt").write_text("")
    poses = [
        line
        for line in (source / "images.txt").read_text().splitlines()
        if line.endswith(".jpg") and not line.startswith("#")
    ]
    mapped = []
    for index, line in enumerate(sorted(poses, key=lambda text: text.split()[-1])):
        target = folder / ("queries" if index % 2 else "images") / line.split()[-1]
        target.parent.mkdir(exist_ok=True)
        image = cv2.imread(str(source / "images" / target.name))
        resized = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(target.with_suffix(".png")), resized)
        if index % 2 == 0:
            mapped.append(line.replace(".jpg", ".png").split(maxsplit=1)[1])
    text = "".join(f"{number} {line}\n\n" for number, line in enumerate(mapped, 1))
    (folder / "model" / "images.txt").write_text(text)
    output = folder / "fountain.devmap"
    options = BuildOptions(
        config=build(LocalizerConfig, VALUES, "test"), metric=True, gravity_aligned=True
    )
    build_map(folder / "images", output, folder / "model", options)
    return output, folder / "queries", camera


def by_night(bgr: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an image that is so dark that nearest neighbours leave doubt."""
    noise = np.random.default_rng(0).normal(0, 6, bgr.shape)
    return np.clip(0.05 * bgr + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("night", [False, True])
def test_live_poses_are_the_offline_poses(
    robot: Robot, scene: tuple[Path, Path, Camera], night: bool
) -> None:
    map_path, queries, camera = scene
    localizer = Localizer.load(map_path, build(LocalizerConfig, VALUES, "test"))
    mounting = Transform.from_quaternion((0.5, -0.5, 0.5, -0.5), (0.5, 0.0, 1.0))
    parameters = {name.replace(".", "__"): value for name, value in VALUES.items()}
    robot.start(
        calibrate=False,
        extrinsics=False,
        load=Localizer.load,
        map__path=str(map_path),
        extrinsics__source="parameters",
        extrinsics__translation=mounting.translation.tolist(),
        extrinsics__rotation=mounting.quaternion_xyzw.tolist(),
        image__reliability="reliable",
        **parameters,
    )
    fx, fy, cx, cy = camera.params
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0]
    robot.info_publisher.publish(info)
    robot.spin(0.3)
    paths, ways, poses = sorted(queries.iterdir()), [], 0
    for number, path in enumerate(paths, 1):
        bgr = cv2.imread(str(path))
        if night:
            bgr = by_night(bgr)
        offline = localizer.localize(
            cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8),
            Camera("PINHOLE", WIDTH, HEIGHT, (fx, fy, cx - 0.5 + 0.5, cy - 0.5 + 0.5)),
        )
        robot.send_image(
            0,
            stamp=float(number),
            width=WIDTH,
            height=HEIGHT,
            encoding="bgr8",
            step=3 * WIDTH,
            data=bgr.tobytes(),
        )
        robot.spin_until(lambda n=number: len(robot.status) == n, seconds=60)
        ways.append(offline.way)
        text, values = robot.last_status()
        assert values["way"] == offline.way.value
        if isinstance(offline, LocalizationFailure):
            assert text == offline.reason.name
            continue
        expected = pose_message(
            "map",
            number * 1_000_000_000,
            base_pose(offline.map_from_camera, offline.covariance, mounting),
        )
        poses += 1
        robot.spin_until(lambda: len(robot.poses) == poses)  # noqa: B023
        # Equality of messages compares every float of pose and covariance.
        assert robot.poses[-1] == expected
    assert len(paths) == 5
    assert poses == 5 or night
    assert (Way.CONTEXT in ways) == night
    assert poses >= 3

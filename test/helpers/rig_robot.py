"""A robot with several cameras: its topics, and a localizer that tells what it was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from robot import LATCHED, FakeLocalizer, Robot
from sensor_msgs.msg import CameraInfo, Image

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.rig.types import CameraView, RigEstimate
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    LocalizationFailure,
    PosePrior,
)
from deviloc_ros.ros.messages import stamp_message
from deviloc_ros.simulation.drive import mounted

SMALL = Camera("PINHOLE", 64, 48, (50.0, 50.0, 32.0, 24.0))
MOUNTS = {
    "left": mounted(0.5, 0.6, 1.5, np.pi / 2),
    "rear": mounted(-1.0, 0.0, 1.6, np.pi),
    "right": mounted(0.5, -0.6, 1.5, -np.pi / 2),
}
MATCHES = Correspondences(
    np.array([[10.0, 40.0], [20.0, 42.0]]),
    np.array([[0.0, 0.0, 5.0], [1.0, 0.0, 5.0]]),
    np.ones(2),
    np.zeros(2, np.int64),
    np.zeros((2, 2)),
)


class FakeRigLocalizer(FakeLocalizer):
    """Reads x of the base off the first image's first pixel; black is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[list[int], list[Camera], list[Transform]]] = []

    def localize_rig(
        self,
        images: Sequence[np.ndarray[Any, Any]],
        cameras: Sequence[Camera],
        base_from_camera: Sequence[Transform],
        prior: PosePrior | None = None,
    ) -> RigEstimate | LocalizationFailure:
        values = [int(image.flat[0]) for image in images]
        self.calls.append((values, list(cameras), list(base_from_camera)))
        if values[0] == 0:
            return LocalizationFailure(FailureReason.TOO_FEW_INLIERS, "3 < 30", num_inliers=3)
        pose = Transform(Transform.identity().rotation, np.array([values[0] / 10, 0.0, 0.0]))
        views = [
            CameraView(
                camera, (pose @ mount).inverse(), MATCHES, np.array([True, False]), ["a.png"]
            )
            for camera, mount in zip(cameras, base_from_camera, strict=True)
        ]
        return RigEstimate(pose, np.eye(6) * 1e-4, views, {"extract": 0.001})


class RigTopics:
    """Publishes what the cameras of a rig see, from the peer of a `Robot`."""

    def __init__(self, robot: Robot, cameras: Mapping[str, Camera]) -> None:
        self.robot = robot
        self.cameras = cameras
        publish = robot.peer.create_publisher
        self.images = {name: publish(Image, f"/{name}/image", 10) for name in cameras}
        self.infos = {
            name: publish(CameraInfo, f"/{name}/camera_info", LATCHED) for name in cameras
        }

    def start(self, load: Callable[..., Any] | None = None, **parameters: Any) -> None:
        """Make the node, activate it and wait until everybody is connected."""
        robot = self.robot
        node = robot.add_node(load, cameras=list(self.cameras), **parameters)
        assert node.start()
        for publisher in self.images.values():
            robot.spin_until(lambda p=publisher: p.get_subscription_count() == 1)
        robot.spin_until(lambda: robot.tf_publisher.get_subscription_count() >= 2)
        robot.spin_until(lambda: node.count_subscribers("/localization/pose") == 1)
        robot.spin_until(lambda: node.count_subscribers("/localization/status") == 1)

    def calibrate(self, *names: str, camera: Camera | None = None) -> None:
        """Send the camera_info of cameras, of their own intrinsics or of others."""
        for name in names or self.cameras:
            self.infos[name].publish(info_of(camera or self.cameras[name]))
        self.robot.spin(0.2)

    def mount(self, mounts: Mapping[str, Transform], stamp_names: str = "{}_optical") -> None:
        """Send where cameras sit."""
        for name, base_from_camera in mounts.items():
            self.robot.send_static("base_link", stamp_names.format(name), base_from_camera)
        self.robot.spin(0.2)

    def send(self, name: str, stamp: float, pixels: np.ndarray[Any, Any] | int) -> None:
        """Send an image, RGB or of one gray value, stamp in seconds."""
        camera = self.cameras[name]
        if isinstance(pixels, int):
            pixels = np.full((camera.height, camera.width, 3), pixels, np.uint8)
        image = Image(height=pixels.shape[0], width=pixels.shape[1], encoding="rgb8")
        image.step = 3 * pixels.shape[1]
        image.header.frame_id = f"{name}_optical"
        image.header.stamp = stamp_message(round(stamp * 1e9))
        image.data = pixels.tobytes()
        self.images[name].publish(image)

    def cameras_in_diagnostics(self) -> str:
        """Return what the newest /diagnostics says about the cameras."""
        self.robot.diagnostics.clear()
        self.robot.spin_until(lambda: bool(self.robot.diagnostics))
        values = {item.key: item.value for item in self.robot.diagnostics[-1].status[0].values}
        return str(values["cameras"])


def info_of(camera: Camera) -> CameraInfo:
    """Return the CameraInfo of a COLMAP camera."""
    fx, fy, cx, cy, *rest = camera.params
    model = "equidistant" if camera.model == "OPENCV_FISHEYE" else "plumb_bob"
    info = CameraInfo(width=camera.width, height=camera.height, distortion_model=model)
    info.k = [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0]
    info.d = [float(value) for value in rest or (0.0,) * 4] + [0.0] * (model == "plumb_bob")
    return info

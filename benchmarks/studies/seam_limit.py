"""How exactly can two halves of a drive be joined at all? The images' own answer, by SIFT.

    ./run bench seam_limit SCENE --work DIR

SCENE holds images/ and a metric COLMAP model of true poses, of images in the order of the drive.
Every third image is left out, as in benchmarks/living.py. COLMAP matches images of both halves with
each other, and a bundle adjustment moves the second half as a whole, as a rig, until tracks across
the border agree. It begins with the true poses, and with the second half shifted by centimetres.
Where it ends is what matches across the border say, without localization and without maps. Printed
for each round: tracks across the border, and how far the second half is from its true place.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.colmap import PosedImage, posed_images
from deviloc_ros.geometry.transform import Transform

# Images whose places in the drive differ by at most so many are matched.
REACH = 8
ROUNDS = 3
STARTS = {
    "true poses": Transform.identity(),
    "shifted": Transform(
        Rotation.from_euler("xyz", [0.02, 0.03, 0.02], degrees=True), np.array([0.02, 0.01, 0.04])
    ),
}
LOSS_SCALE = 0.5


def rigid(transform: Transform) -> pycolmap.Rigid3d:
    return pycolmap.Rigid3d(pycolmap.Rotation3d(transform.quaternion_xyzw), transform.translation)


def sensor(number: int) -> pycolmap.sensor_t:
    return pycolmap.sensor_t(pycolmap.SensorType.CAMERA, number)


class Drive:
    """Images in order, and what COLMAP matched between them."""

    def __init__(self, posed: Sequence[PosedImage], images: Path, work: Path) -> None:
        """Extract and match, unless that was done."""
        self.posed, self.half = list(posed), len(posed) // 2
        self._images, self._work = images, work
        self._database = work / "database.db"
        if not self._database.exists():
            self._match()
        with pycolmap.Database.open(self._database) as database:
            self._camera = database.read_all_cameras()[0]
            self._ids = {image.name: image.image_id for image in database.read_all_images()}

    def _match(self) -> None:
        names = [item.name for item in self.posed]
        camera = self.posed[0].camera
        reader = pycolmap.ImageReaderOptions(
            camera_model=camera.model, camera_params=",".join(map(str, camera.params))
        )
        begun = self._work / "begun.db"
        begun.unlink(missing_ok=True)
        pycolmap.extract_features(
            begun, self._images, image_names=names, reader_options=reader,
            camera_mode=pycolmap.CameraMode.SINGLE,
        )  # fmt: skip
        pairs = self._work / "pairs.txt"
        pairs.write_text(
            "\n".join(
                f"{one} {other}"
                for i, one in enumerate(names)
                for other in names[i + 1 : i + 1 + REACH]
            ),
            encoding="utf-8",
        )
        pairing = pycolmap.ImportedPairingOptions(match_list_path=pairs)
        pycolmap.match_image_pairs(begun, pairing_options=pairing)
        begun.rename(self._database)

    def adjusted(self, poses: Sequence[Transform]) -> tuple[list[Transform], int]:
        """Return the poses with the second half moved as a whole, and the tracks that told how."""
        points, tracks = self._triangulated(poses)
        model = pycolmap.Reconstruction()
        body = poses[self.half]
        rig = pycolmap.Rig(rig_id=self.half + 1)
        frame = pycolmap.Frame(frame_id=self.half + 1, rig_id=self.half + 1)
        images = []
        for index, (item, pose) in enumerate(zip(self.posed, poses, strict=True)):
            number = index + 1
            camera = pycolmap.Camera(
                camera_id=number, model=item.camera.model, width=item.camera.width,
                height=item.camera.height, params=list(item.camera.params),
            )  # fmt: skip
            image = pycolmap.Image(name=item.name, camera_id=number, image_id=number)
            if index < self.half:
                model.add_camera_with_trivial_rig(camera)
                model.add_image_with_trivial_frame(image, rigid(pose))
                continue
            model.add_camera(camera)
            if index == self.half:
                rig.add_ref_sensor(sensor(number))
            else:
                rig.add_sensor(sensor(number), rigid(pose @ body.inverse()))
            frame.add_data_id(pycolmap.data_t(sensor(number), number))
            image.frame_id = self.half + 1
            images.append(image)
        model.add_rig(rig)
        frame.rig_from_world = rigid(body)
        model.add_frame(frame)
        for image in images:
            model.add_image(image)
        model.register_frame(self.half + 1)
        for index, keypoints in enumerate(points):
            model.image(index + 1).points2D = pycolmap.Point2DList(keypoints)
        crossing = 0
        for where, elements in tracks:
            if len({index < self.half for index, _ in elements}) == 2:
                track = pycolmap.Track()
                for index, place in elements:
                    track.add_element(index + 1, place)
                model.add_point3D(where, track)
                crossing += 1
        self._solve(model)
        moved = Transform.from_matrix(model.frame(self.half + 1).rig_from_world.matrix())
        move = body.inverse() @ moved
        return [*poses[: self.half], *(pose @ move for pose in poses[self.half :])], crossing

    def _triangulated(
        self, poses: Sequence[Transform]
    ) -> tuple[list[list[pycolmap.Point2D]], list[tuple[np.ndarray, list[tuple[int, int]]]]]:
        """Return keypoints by image, and points with their tracks, (index, keypoint) each."""
        model = pycolmap.Reconstruction()
        model.add_camera_with_trivial_rig(self._camera)
        for item, pose in zip(self.posed, poses, strict=True):
            image = pycolmap.Image(
                name=item.name, camera_id=self._camera.camera_id, image_id=self._ids[item.name]
            )
            model.add_image_with_trivial_frame(image, rigid(pose))
        folder = self._work / "triangulated"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        found = pycolmap.triangulate_points(model, self._database, self._images, folder)
        index_of = {self._ids[item.name]: index for index, item in enumerate(self.posed)}
        points = [
            [pycolmap.Point2D(point.xy) for point in found.image(self._ids[item.name]).points2D]
            for item in self.posed
        ]
        tracks = [
            (point.xyz, [(index_of[e.image_id], e.point2D_idx) for e in point.track.elements])
            for point in found.points3D.values()
        ]
        return points, tracks

    def _solve(self, model: pycolmap.Reconstruction) -> None:
        config = pycolmap.BundleAdjustmentConfig()
        for index in range(len(self.posed)):
            config.add_image(index + 1)
            config.set_constant_cam_intrinsics(index + 1)
            if index < self.half:
                config.set_constant_rig_from_world_pose(model.image(index + 1).frame_id)
            elif index > self.half:
                config.set_constant_sensor_from_rig_pose(sensor(index + 1))
        options = pycolmap.BundleAdjustmentOptions(print_summary=False)
        options.refine_sensor_from_rig = False
        options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
        options.ceres.loss_function_scale = LOSS_SCALE
        pycolmap.create_default_bundle_adjuster(options, config, model).solve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value
    ordered = sorted(posed_images(args.scene), key=lambda item: item.name)
    drive = Drive(
        [p for i, p in enumerate(ordered) if i % 3 != 1], args.scene / "images", args.work
    )
    true = [item.camera_from_map for item in drive.posed]
    print("| from | round | tracks across | position, median (largest) | rotation |")
    print("|---|---|---|---|---|")
    for name, start in STARTS.items():
        poses = [pose @ start if i >= drive.half else pose for i, pose in enumerate(true)]
        for number in range(ROUNDS):
            poses, crossing = drive.adjusted(poses)
            errors = np.array(
                [
                    pose.inverse().distance_to(truth.inverse())
                    for pose, truth in zip(poses[drive.half :], true[drive.half :], strict=True)
                ]
            )
            print(
                f"| {name} | {number + 1} | {crossing} | {1000 * np.median(errors[:, 0]):.1f} mm "
                f"({1000 * errors[:, 0].max():.1f}) | {np.median(errors[:, 1]):.4f} deg |",
                flush=True,
            )


if __name__ == "__main__":
    main()

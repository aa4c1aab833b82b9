"""Structure from motion with pycolmap: sparse points, and poses where they are not given."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pycolmap
from tqdm import tqdm

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

MIN_MODEL_IMAGES = 3
# COLMAP writes matches to its database after so many pairs; what is written survives a Ctrl-C.
PAIRS_PER_COMMIT = 50


@dataclass(frozen=True)
class Intrinsics:
    """What is known of the cameras of images without a model.

    Attributes:
        sharing: whether `all` images, those of a `folder`, or no two have one camera (`image`);
            `auto` shares by size and EXIF as COLMAP does.
        model: COLMAP camera model to estimate.
        known: intrinsics of all images, held fixed; None estimates them, from EXIF where it is.
    """

    sharing: str = "auto"
    model: str = "SIMPLE_RADIAL"
    known: Camera | None = None


CAMERA_MODES = {
    "auto": pycolmap.CameraMode.AUTO,
    "all": pycolmap.CameraMode.SINGLE,
    "folder": pycolmap.CameraMode.PER_FOLDER,
    "image": pycolmap.CameraMode.PER_IMAGE,
}


# COLMAP tells every step on stderr, between the progress bars; what goes wrong is raised.
pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value


class StructureFromMotion:
    """COLMAP's steps in a workspace folder; a second run takes up where the first one stopped."""

    def __init__(self, images: Path, workspace: Path, seed: int, max_image_size: int) -> None:
        """Work on the images below a folder.

        Args:
            images: folder of the images.
            workspace: folder for the database and the model; made if absent.
            seed: of every random choice.
            max_image_size: longer side for SIFT, pixels.
        """
        self.images = images
        self.workspace = workspace
        self.seed = seed
        self.max_image_size = max_image_size
        self.database = workspace / "database.db"
        workspace.mkdir(parents=True, exist_ok=True)

    def import_poses(self, posed: Sequence[PosedImage]) -> pycolmap.Reconstruction:
        """Write given cameras and images to the database; return them as a model without points."""
        model = pycolmap.Reconstruction()
        camera_ids: dict[Camera, int] = {}
        for image_id, item in enumerate(posed, start=1):
            if item.camera not in camera_ids:
                camera_ids[item.camera] = camera_id = len(camera_ids) + 1
                model.add_camera_with_trivial_rig(_camera(item.camera, camera_id))
            image = pycolmap.Image(
                name=item.name, camera_id=camera_ids[item.camera], image_id=image_id
            )
            model.add_image_with_trivial_frame(image, _rigid(item.camera_from_map))
        if not self.database.exists():
            with pycolmap.Database.open(self.database) as database:
                for camera in model.cameras.values():
                    database.write_camera(camera, use_camera_id=True)
                for rig in model.rigs.values():
                    database.write_rig(rig, use_rig_id=True)
                for frame in model.frames.values():
                    database.write_frame(frame, use_frame_id=True)
                for image in model.images.values():
                    database.write_image(image, use_image_id=True)
        return model

    def extract(self, names: Sequence[str], intrinsics: Intrinsics) -> None:
        """Extract SIFT features of the named images that have none yet."""
        options = pycolmap.FeatureExtractionOptions(max_image_size=self.max_image_size)
        reader = pycolmap.ImageReaderOptions(camera_model=intrinsics.model)
        mode = CAMERA_MODES[intrinsics.sharing]
        if intrinsics.known is not None:
            reader.camera_model = intrinsics.known.model
            reader.camera_params = ",".join(repr(value) for value in intrinsics.known.params)
            mode = pycolmap.CameraMode.SINGLE

        def work(token: pycolmap.CancellationToken) -> None:
            pycolmap.extract_features(
                self.database,
                self.images,
                image_names=list(names),
                camera_mode=mode,
                reader_options=reader,
                extraction_options=options,
                device=pycolmap.Device.cpu,
                cancellation_token=token,
            )

        self._watched(work, "features", len(names), "SELECT COUNT(*) FROM keypoints")

    def match(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Match and verify the pairs of images that are not matched yet."""
        pair_list = self.workspace / "pairs.txt"
        pair_list.write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
        pairing = pycolmap.ImportedPairingOptions(
            match_list_path=pair_list, block_size=PAIRS_PER_COMMIT
        )
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = self.seed

        def work(token: pycolmap.CancellationToken) -> None:
            pycolmap.match_image_pairs(
                self.database,
                pairing_options=pairing,
                verification_options=verification,
                device=pycolmap.Device.cpu,
                cancellation_token=token,
            )

        self._watched(work, "matching", len(pairs), "SELECT COUNT(*) FROM two_view_geometries")

    def triangulate(self, model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
        """Return a model with points; poses and intrinsics stay as given."""
        options = pycolmap.IncrementalPipelineOptions(random_seed=self.seed)
        output = self._fresh_folder("triangulated")

        def work(token: pycolmap.CancellationToken) -> None:
            pycolmap.triangulate_points(
                model,
                self.database,
                self.images,
                output,
                options=options,
                cancellation_token=token,
            )

        self._watched(work, "triangulation", None, None)
        return pycolmap.Reconstruction(output)

    def reconstruct(
        self, num_images: int, fixed_intrinsics: bool
    ) -> tuple[pycolmap.Reconstruction, Mapping[str, int]]:
        """Find poses and points from the matches.

        Returns:
            The largest model, and for every image that is only in a smaller one that one's size.

        Raises:
            NothingFoundError: no model came about.
        """
        options = pycolmap.IncrementalPipelineOptions(
            random_seed=self.seed, min_model_size=MIN_MODEL_IMAGES
        )
        options.ba_refine_focal_length = not fixed_intrinsics
        options.ba_refine_extra_params = not fixed_intrinsics
        output = self._fresh_folder("models")
        models: dict[int, pycolmap.Reconstruction] = {}
        bar = tqdm(total=num_images, desc="registering", unit="image", disable=None)

        def work(token: pycolmap.CancellationToken) -> None:
            models.update(
                pycolmap.incremental_mapping(
                    self.database,
                    self.images,
                    output,
                    options=options,
                    next_image_callback=lambda: bar.update(),
                    cancellation_token=token,
                )
            )

        with bar:
            self._watched(work, None, None, None)
        if not models:
            raise NothingFoundError(
                f"{self.images}: no two images could be related to each other; a map needs "
                "overlapping, sharp images taken from different places"
            )
        ranked = sorted(models.values(), key=lambda model: -model.num_reg_images())
        best = ranked[0]
        registered = {image.name for image in best.images.values() if image.has_pose}
        elsewhere: dict[str, int] = {}
        for model in ranked[1:]:
            for image in model.images.values():
                if image.has_pose and image.name not in registered:
                    elsewhere.setdefault(image.name, model.num_reg_images())
        return best, elsewhere

    def verified_matches(self) -> Mapping[str, int]:
        """Return how many other images each image has verified matches with."""
        counts: dict[str, int] = {}
        with pycolmap.Database.open(self.database) as database:
            names = {image.image_id: image.name for image in database.read_all_images()}
            counts = dict.fromkeys(names.values(), 0)
            pairs, inliers = database.read_two_view_geometry_num_inliers()
            for pair, count in zip(pairs, inliers, strict=True):
                first, second = pycolmap.pair_id_to_image_pair(pair)
                if count > 0:
                    counts[names[first]] += 1
                    counts[names[second]] += 1
        return counts

    def _fresh_folder(self, name: str) -> Path:
        folder = self.workspace / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _watched(
        self,
        work: Callable[[pycolmap.CancellationToken], None],
        title: str | None,
        total: int | None,
        count_query: str | None,
    ) -> None:
        """Run COLMAP in a thread, show progress from its database, cancel it on Ctrl-C."""
        token = pycolmap.CancellationToken()
        error: list[BaseException] = []

        def run() -> None:
            try:
                work(token)
            except BaseException as caught:
                error.append(caught)

        thread = threading.Thread(target=run, name="colmap")
        thread.start()
        try:
            with tqdm(total=total, desc=title, disable=title is None or None) as bar:
                while thread.is_alive():
                    thread.join(0.2)
                    if count_query is not None:
                        bar.n = min(self._count(count_query), total or 0)
                        bar.refresh()
        except BaseException:
            token.cancel()
            thread.join()
            raise
        if error:
            raise error[0]

    def _count(self, query: str) -> int:
        try:
            with sqlite3.connect(
                f"file:{self.database}?mode=ro", uri=True, timeout=0.1
            ) as database:
                return int(database.execute(query).fetchone()[0])
        except sqlite3.Error:  # not there yet, or being written to
            return 0


def _camera(camera: Camera, camera_id: int) -> pycolmap.Camera:
    return pycolmap.Camera(
        camera_id=camera_id,
        model=camera.model,
        width=camera.width,
        height=camera.height,
        params=list(camera.params),
        has_prior_focal_length=True,
    )


def _rigid(transform: Transform) -> pycolmap.Rigid3d:
    return pycolmap.Rigid3d(pycolmap.Rotation3d(transform.quaternion_xyzw), transform.translation)

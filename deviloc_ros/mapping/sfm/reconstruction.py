"""Structure from motion with pycolmap: sparse points, and poses where they are not given.

Its long steps can be ended by Ctrl-C, and finished ones are kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pycolmap

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.mapping.sfm.colmap_model import model_of, write_model
from deviloc_ros.mapping.sfm.focal_lengths import with_plausible_focal_lengths
from deviloc_ros.mapping.sfm.intrinsics import AUTO, Intrinsics, refine_lenses
from deviloc_ros.mapping.sfm.mappers import (
    MAPPER_THREADS,
    MIN_MODEL_IMAGES,
    Mapper,
    Matched,
    find_models,
)
from deviloc_ros.mapping.sfm.rig import tell_rig
from deviloc_ros.mapping.sfm.sift_settings import FINE_SIFT, SiftSettings
from deviloc_ros.mapping.sfm.staging import StagedImages
from deviloc_ros.mapping.sfm.steps import cancellable, check_space, in_steps

# COLMAP works in steps of this size: what a step wrote to the database survives a Ctrl-C.
IMAGES_PER_STEP = 4
PAIRS_PER_STEP = 40


# COLMAP tells every step on stderr, between the progress bars; what goes wrong is raised.
pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value


class StructureFromMotion:
    """COLMAP's steps in a workspace folder; a second run takes up where the first one stopped.

    Images go by their own names here; COLMAP sees them under those of `StagedImages`.
    """

    def __init__(
        self, images: Path, workspace: Path, seed: int, sift: SiftSettings = FINE_SIFT
    ) -> None:
        """Work on the images below a folder.

        Args:
            images: folder of the images.
            workspace: folder for the database and the model; made if absent.
            seed: of every random choice.
            sift: how densely it looks at images.
        """
        self.images = images
        self.workspace = workspace
        self.seed = seed
        self.sift = sift
        self.database = workspace / "database.db"
        workspace.mkdir(parents=True, exist_ok=True)
        self._staged = StagedImages(images, workspace / "images")

    def stage(self, names: Sequence[str]) -> Mapping[str, str]:
        """Give COLMAP the images, which comes first; return why some cannot be used, by name."""
        return self._staged.add(names)

    def import_poses(
        self, posed: Sequence[PosedImage], unposed: Collection[str] = ()
    ) -> pycolmap.Reconstruction:
        """Write given cameras and images to the database; return them as a model without points.

        Its names are those that COLMAP knows; `triangulate` gives the images their own.

        Args:
            posed: all images.
            unposed: which of them have no pose in the model, whatever `posed` says; `register` may
                find one.
        """
        model = model_of([replace(item, name=self._staged.name_of(item.name)) for item in posed])
        if not self.database.exists():
            check_space(self.workspace)
            temporary = self._importing()
            write_model(model, temporary)
            temporary.rename(self.database)
        without = {self._staged.name_of(name) for name in unposed}
        for image in list(model.images.values()):
            if image.name in without:
                model.deregister_frame(image.frame_id)
        return model

    def import_images(self, sizes: Mapping[str, tuple[int, int]], intrinsics: Intrinsics) -> None:
        """Write images and what is known of their cameras to the database.

        Args:
            sizes: width and height by name.
            intrinsics: what is known of the cameras.
        """
        if not self.database.exists():
            temporary = self._importing()
            pycolmap.Database.open(temporary).close()
            for names, mode, reader in intrinsics.groups(sizes):
                check_space(self.workspace)
                staged = [self._staged.name_of(name) for name in names]
                pycolmap.import_images(temporary, self._staged.folder, mode, staged, reader)
            if intrinsics.rig:
                tell_rig(temporary, intrinsics.rig)
            temporary.rename(self.database)

    def extract(self, names: Sequence[str]) -> Mapping[str, str]:
        """Extract SIFT features of the named images that have none yet.

        Returns:
            Why images have none, by name.
        """
        options = pycolmap.FeatureExtractionOptions(max_image_size=self.sift.max_image_size)
        options.sift.max_num_features = self.sift.max_features
        options.sift.first_octave = self.sift.first_octave
        staged = [self._staged.name_of(name) for name in names]
        for chunk in in_steps(staged, IMAGES_PER_STEP, "features", "image"):
            check_space(self.workspace)
            cancellable(
                pycolmap.extract_features,
                self.database,
                self._staged.folder,
                image_names=chunk,
                extraction_options=options,
                device=pycolmap.Device.cpu,
            )
        without: dict[str, str] = {}
        with pycolmap.Database.open(self.database) as database:
            ids = {image.name: image.image_id for image in database.read_all_images()}
            for name, known in zip(names, staged, strict=True):
                if known not in ids:
                    without[name] = "cannot be read by COLMAP"
                elif not database.num_keypoints_for_image(ids[known]):
                    without[name] = "shows nothing to find again (COLMAP finds no SIFT features)"
        return without

    def match(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Match and verify the pairs of images that are not matched yet."""
        pair_list = self.workspace / "pairs.txt"
        pairing = pycolmap.ImportedPairingOptions(match_list_path=pair_list)
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = self.seed
        for chunk in in_steps(pairs, PAIRS_PER_STEP, "matching", "pair"):
            named = [(self._staged.name_of(a), self._staged.name_of(b)) for a, b in chunk]
            check_space(self.workspace)
            pair_list.write_text("".join(f"{a} {b}\n" for a, b in named), encoding="utf-8")
            cancellable(
                pycolmap.match_image_pairs,
                self.database,
                pairing_options=pairing,
                verification_options=verification,
                device=pycolmap.Device.cpu,
            )

    def triangulate(self, model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
        """Return a model with points; poses and intrinsics stay as given."""
        output = self._fresh_folder("triangulated")
        cancellable(
            pycolmap.triangulate_points,
            model,
            self.database,
            self._staged.folder,
            output,
            options=pycolmap.IncrementalPipelineOptions(random_seed=self.seed),
        )
        return self._with_own_names(pycolmap.Reconstruction(output))

    def register(self, model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
        """Find poses of images that a model lacks; the poses that it has stay where they are.

        Args:
            model: with points.

        Returns:
            The model with what could be registered, which may be nothing.
        """
        options = pycolmap.IncrementalPipelineOptions(
            random_seed=self.seed,
            num_threads=MAPPER_THREADS,
            min_model_size=MIN_MODEL_IMAGES,
            multiple_models=False,
        )
        options.fix_existing_frames = True
        options.ba_refine_focal_length = options.ba_refine_extra_params = False
        before = self._fresh_folder("before")
        named = pycolmap.Reconstruction(model)
        for image in named.images.values():
            image.name = self._staged.name_of(image.name)
        named.write(before)
        models = cancellable(
            pycolmap.incremental_mapping,
            self.database,
            self._staged.folder,
            self._fresh_folder("registered"),
            options=options,
            input_path=before,
        )
        found = [self._with_own_names(item) for item in models.values()]
        grown = [item for item in found if item.num_reg_images() > model.num_reg_images()]
        return max(grown, key=lambda item: int(item.num_reg_images()), default=model)

    def reconstruct(
        self, num_images: int, intrinsics: Intrinsics, mapper: Mapper = "auto"
    ) -> tuple[pycolmap.Reconstruction, Mapping[str, int]]:
        """Find poses and points from the matches.

        Args:
            num_images: how many there are.
            intrinsics: what is known of their cameras.
            mapper: see find_models.

        Returns:
            The largest model, and for every image that is only in a smaller one that one's size.

        Raises:
            NothingFoundError: no model came about.
        """
        matched = Matched(
            self.database, self._staged.folder, self._fresh_folder, self.seed, num_images,
            not intrinsics.are_known,
        )  # fmt: skip

        def find() -> list[pycolmap.Reconstruction]:
            return [self._with_own_names(model) for model in find_models(matched, mapper)]

        models = find()
        if not models:
            raise NothingFoundError(self._why_nothing(num_images))
        if not intrinsics.are_known:
            models = with_plausible_focal_lengths(models, self.database, find)
        best, *others = sorted(models, key=lambda model: -model.num_reg_images())
        registered = {image.name for image in best.images.values() if image.has_pose}
        elsewhere: dict[str, int] = {}
        for model in others:
            for image in model.images.values():
                if image.has_pose and image.name not in registered:
                    elsewhere.setdefault(image.name, model.num_reg_images())
        if not intrinsics.are_known:
            refine_lenses(best, may_change_model=intrinsics.model == AUTO)
        return best, elsewhere

    def _with_own_names(self, model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
        for image in model.images.values():
            image.name = self._staged.original(image.name)
        return model

    def _why_nothing(self, num_images: int) -> str:
        related = sum(count > 0 for count in self.verified_matches().values())
        if not related:
            return (
                f"{self.images}: no two of {num_images} images could be related to each other; a "
                "map needs overlapping, sharp images taken from different places"
            )
        return (
            f"{self.images}: {related} of {num_images} images match another one, but no "
            f"{MIN_MODEL_IMAGES} of them give a map; it needs overlapping, sharp images taken from "
            "different places, walking rather than turning on the spot"
        )

    def verified_matches(self) -> Mapping[str, int]:
        """Return how many other images each image has verified matches with."""
        counts: dict[str, int] = {}
        with pycolmap.Database.open(self.database) as database:
            names = {
                image.image_id: self._staged.original(image.name)
                for image in database.read_all_images()
            }
            counts = dict.fromkeys(names.values(), 0)
            pairs, inliers = database.read_two_view_geometry_num_inliers()
            for pair, count in zip(pairs, inliers, strict=True):
                first, second = pycolmap.pair_id_to_image_pair(pair)
                if count > 0:
                    counts[names[first]] += 1
                    counts[names[second]] += 1
        return counts

    def _importing(self) -> Path:
        """Return the name under which a database is begun: under its own it is whole."""
        path = self.workspace / "importing.db"
        path.unlink(missing_ok=True)
        return path

    def _fresh_folder(self, name: str) -> Path:
        check_space(self.workspace)
        folder = self.workspace / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

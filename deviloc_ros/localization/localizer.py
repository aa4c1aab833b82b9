"""DeViLoc: from a query image and a map to a pose, or to a reason why there is none.

Giang, Song and Jo, "Learning to Produce Semi-dense Correspondences for Visual Localization",
CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig, VerificationConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import to_gray
from deviloc_ros.localization.admission import refuse
from deviloc_ros.localization.covariance import pose_covariance
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.matching import Matcher, SemiDenseMatcher
from deviloc_ros.localization.pose import MIN_MATCHES, PoseHypothesis
from deviloc_ros.localization.retrieval import Retrieval
from deviloc_ros.localization.rig import RigStages, localize_rig
from deviloc_ros.localization.rig_types import RigEstimate
from deviloc_ros.localization.solver import PoseSolver, PublishedSolver, RobustSolver
from deviloc_ros.localization.stages import StageClock
from deviloc_ros.localization.topicfm import TopicFmMatcher
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    Localization,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
    Query,
)
from deviloc_ros.localization.verification import verify
from deviloc_ros.mapping.map import Map
from deviloc_ros.mapping.open_map import open_map
from deviloc_ros.models.runtime import choose_backend, one_torch_thread


class Localizer:
    """Localizes images against one map. Deterministic: one image and map give one pose."""

    def __init__(self, reference_map: Map, config: LocalizerConfig | None = None) -> None:
        """Load the networks and the map's global descriptors onto the device.

        Raises:
            InputError: the weights, the device, or what the matcher needs of the map is missing.
        """
        self.map = reference_map
        self.config = config or LocalizerConfig()
        self._extractor = FeatureExtractor(self.config)
        self.device = self._extractor.device
        self._retrieve = Retrieval(reference_map, self.config.retrieval, self.device)
        published = self.config.matching.matcher == "topicfm"
        self._match: Matcher = (TopicFmMatcher if published else SemiDenseMatcher)(
            reference_map, self.config, self.device
        )
        backend = choose_backend(self.config.features.backend, self.device)
        self._xfeat_on_openvino = backend == "openvino" and not published
        self._solver: PoseSolver = RobustSolver(self.config)
        if published and self.config.topicfm.behaviour == "compat":
            self._solver = PublishedSolver(self.config.topicfm)

    @staticmethod
    def load(map_path: str | Path, config: LocalizerConfig | None = None) -> Localizer:
        """Open a map file, or an index of tiles, and make a localizer for it.

        Raises:
            InputError: the map, the weights or the device cannot be used.
        """
        tiles = config.tiles if config is not None else None
        localizer = Localizer(open_map(map_path, tiles), config)
        localizer.warm_up()
        return localizer

    def warm_up(self) -> None:
        """Compile what is compiled at first use, for images of the size of the map's first.

        The first pose of a robot is then as quick as any other.
        """
        if self.config.matching.matcher == "xfeat":
            camera = self.map.references[0].camera
            noise = np.random.default_rng(0).integers(0, 256, (camera.height, camera.width))
            self.localize(noise.astype(np.uint8), camera)

    def set_verification(self, limits: VerificationConfig) -> None:
        """Believe poses by other limits from the next image on."""
        self.config = self.config.model_copy(update={"verification": limits})

    def localize(
        self, image: NDArray[np.uint8], camera: Camera, prior: PosePrior | None = None
    ) -> Localization:
        """Localize one image: (H, W) gray or (H, W, 3) RGB, uint8."""
        return self.localize_batch([image], [camera], [prior])[0]

    def localize_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        cameras: Sequence[Camera],
        priors: Sequence[PosePrior | None] | None = None,
    ) -> list[Localization]:
        """Localize several images; the networks see them as one batch where sizes agree."""
        with one_torch_thread(self._xfeat_on_openvino):
            return self._localize_batch(images, cameras, priors)

    def _localize_batch(
        self,
        images: Sequence[NDArray[np.uint8]],
        cameras: Sequence[Camera],
        priors: Sequence[PosePrior | None] | None,
    ) -> list[Localization]:
        clock = StageClock()
        results: list[Localization | None] = [
            refuse(image, camera) for image, camera in zip(images, cameras, strict=True)
        ]
        sound = [i for i, refused in enumerate(results) if refused is None]
        gray = [to_gray(images[i]) for i in sound]
        with clock("extract"):
            features = self._extractor.extract(gray)
        share = {stage: seconds / max(len(sound), 1) for stage, seconds in clock.seconds.items()}
        for i, image, found in zip(sound, gray, features, strict=True):
            prior = priors[i] if priors is not None else None
            query = Query(found, cameras[i], image)
            results[i] = self.localize_query(query, prior, StageClock(share))
        return [result for result in results if result is not None]

    def localize_query(
        self,
        query: Query,
        prior: PosePrior | None = None,
        clock: StageClock | None = None,
        excluded: NDArray[np.int64] | None = None,
    ) -> Localization:
        """Localize an image whose features are known, without the `excluded` references."""
        clock = clock or StageClock()
        camera = query.camera

        with clock("retrieve"):
            left_out = np.union1d(self._match.unusable, [] if excluded is None else excluded)
            clusters = self._retrieve(query.features, prior, left_out.astype(np.int64))
        if not clusters:
            return _failure(FailureReason.NO_REFERENCES, "0 references to match with", clock)
        references = np.concatenate(clusters)
        names = [self.map.references[index].name for index in references]

        matches = self._match(query, references, clock)

        hypotheses: list[tuple[PoseHypothesis, Correspondences, Correspondences]] = []
        num_matches = 0
        for cluster in clusters:
            with clock("aggregate"):
                of_cluster = matches.select(np.isin(matches.reference, cluster))
                correspondences = self._solver.aggregate(of_cluster, camera)
            num_matches = max(num_matches, len(correspondences))
            with clock("pose"):
                pose = self._solver.estimate_pose(correspondences, camera)
            if pose is not None:
                hypotheses.append((pose, correspondences, of_cluster))
        if not hypotheses:
            few = num_matches < MIN_MATCHES
            reason = FailureReason.TOO_FEW_MATCHES if few else FailureReason.NO_POSE
            return _failure(reason, f"{num_matches} matches", clock, num_matches, 0, names)

        hypotheses.sort(key=lambda item: -item[0].num_inliers)
        best, correspondences, of_cluster = hypotheses[0]
        rivals = [pose for pose, _, _ in hypotheses[1:]]
        with clock("covariance"):
            covariance = pose_covariance(
                best,
                of_cluster,
                camera,
                self._solver.loss_scale(camera),
                self.map.calibration.scale_of(self.config.matching.matcher),
            )
        with clock("verify"):
            doubt = verify(
                best, correspondences, rivals, covariance, camera, prior, self.map.metric,
                self.config.verification,
            )  # fmt: skip
        if doubt is not None or covariance is None:
            reason, details = doubt or (FailureReason.UNCERTAIN, "the pose is not determined")
            count = len(correspondences)
            return _failure(reason, details, clock, count, best.num_inliers, names)
        return PoseEstimate(
            best.camera_from_map, covariance, correspondences, best.inliers, matches, names,
            clock.seconds,
        )  # fmt: skip

    def localize_rig(
        self,
        images: Sequence[NDArray[np.uint8]],
        cameras: Sequence[Camera],
        base_from_camera: Sequence[Transform],
        prior: PosePrior | None = None,
    ) -> RigEstimate | LocalizationFailure:
        """Localize the base that several cameras sit on, by images of one instant.

        Args:
            images: one a camera, as for `localize`; they need not overlap.
            cameras: intrinsics, each of its own model.
            base_from_camera: where each camera sits.
            prior: where the base is thought to be.
        """
        stages = RigStages(
            self._extractor, self._retrieve, self._match, self._solver, self.map, self.config
        )
        with one_torch_thread(self._xfeat_on_openvino):
            return localize_rig(stages, images, cameras, base_from_camera, prior)

    def match_and_lift(self, query: Query, references: NDArray[np.int64]) -> Correspondences:
        """Match a query to references, all in one batch, and give every match its 3D point."""
        return self._match(query, references, StageClock())


def _failure(
    reason: FailureReason,
    details: str,
    clock: StageClock,
    num_matches: int = 0,
    num_inliers: int = 0,
    references: Sequence[str] = (),
) -> LocalizationFailure:
    return LocalizationFailure(
        reason, details, clock.seconds, num_matches, num_inliers, tuple(references)
    )

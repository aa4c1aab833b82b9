"""DeViLoc: from a query image and a map to a pose, or to a reason why there is none.

Giang, Song and Jo, "Learning to Produce Semi-dense Correspondences for Visual Localization",
CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import to_gray
from deviloc_ros.localization.aggregation import aggregate
from deviloc_ros.localization.covariance import pose_covariance
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.matching import SemiDenseMatcher, SemiDenseMatches
from deviloc_ros.localization.pose import MIN_MATCHES, PoseHypothesis, estimate_pose
from deviloc_ros.localization.retrieval import Retrieval
from deviloc_ros.localization.stages import StageClock
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    Features,
    Localization,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
)
from deviloc_ros.localization.verification import verify
from deviloc_ros.mapping.map import Map

MIN_IMAGE_SIDE = 64


class Localizer:
    """Localizes images against one map. Deterministic: one image and map give one pose."""

    def __init__(self, reference_map: Map, config: LocalizerConfig | None = None) -> None:
        """Load the networks and the map's global descriptors onto the device."""
        self.map = reference_map
        self.config = config or LocalizerConfig()
        self._extractor = FeatureExtractor(self.config)
        self.device = self._extractor.device
        self._retrieve = Retrieval(reference_map, self.config.retrieval, self.device)
        self._match = SemiDenseMatcher(reference_map, self.config, self.device)

    @staticmethod
    def load(map_path: str | Path, config: LocalizerConfig | None = None) -> Localizer:
        """Open a map file and make a localizer for it.

        Raises:
            InputError: the map, the weights or the device cannot be used.
        """
        return Localizer(Map.load(map_path), config)

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
        clock = StageClock()
        results: list[Localization | None] = [
            _refuse(image, camera) for image, camera in zip(images, cameras, strict=True)
        ]
        sound = [i for i, refused in enumerate(results) if refused is None]
        with clock("extract"):
            features = self._extractor.extract([to_gray(images[i]) for i in sound])
        share = {stage: seconds / max(len(sound), 1) for stage, seconds in clock.seconds.items()}
        for i, query in zip(sound, features, strict=True):
            prior = priors[i] if priors is not None else None
            results[i] = self.localize_features(query, cameras[i], prior, StageClock(share))
        return [result for result in results if result is not None]

    def localize_features(
        self,
        query: Features,
        camera: Camera,
        prior: PosePrior | None = None,
        clock: StageClock | None = None,
        excluded: NDArray[np.int64] | None = None,
    ) -> Localization:
        """Localize an image whose features are known, without the `excluded` references."""
        clock = clock or StageClock()
        config = self.config
        pixel_scale = max(1.0, max(camera.width, camera.height) / config.features.max_size)

        with clock("retrieve"):
            clusters = self._retrieve(query, prior, excluded)
        if not clusters:
            return _failure(FailureReason.NO_REFERENCES, "0 references to match with", clock)
        references = np.concatenate(clusters)
        names = [self.map.references[index].name for index in references]

        matches = self.match_and_lift(query, references, clock)

        hypotheses: list[tuple[PoseHypothesis, Correspondences]] = []
        num_matches = 0
        for cluster in clusters:
            with clock("aggregate"):
                correspondences = aggregate(
                    matches.select(np.isin(matches.reference, cluster)),
                    config.aggregation.cell_size * pixel_scale,
                    config.aggregation.min_confidence,
                )
            num_matches = max(num_matches, len(correspondences))
            with clock("pose"):
                pose = estimate_pose(correspondences, camera, config.pose, pixel_scale, config.seed)
            if pose is not None:
                hypotheses.append((pose, correspondences))
        if not hypotheses:
            few = num_matches < MIN_MATCHES
            reason = FailureReason.TOO_FEW_MATCHES if few else FailureReason.NO_POSE
            return _failure(reason, f"{num_matches} matches", clock, num_matches, 0, names)

        hypotheses.sort(key=lambda item: -item[0].num_inliers)
        (best, correspondences), rivals = hypotheses[0], [pose for pose, _ in hypotheses[1:]]
        with clock("covariance"):
            covariance = pose_covariance(
                best,
                correspondences,
                camera,
                config.pose.loss_scale * pixel_scale,
                self.map.calibration.covariance_scale,
            )
        with clock("verify"):
            doubt = verify(
                best, correspondences, rivals, covariance, camera, prior, self.map.metric,
                config.verification,
            )  # fmt: skip
        if doubt is not None or covariance is None:
            reason, details = doubt or (FailureReason.UNCERTAIN, "the pose is not determined")
            count = len(correspondences)
            return _failure(reason, details, clock, count, best.num_inliers, names)
        return PoseEstimate(
            best.camera_from_map, covariance, correspondences, best.inliers, matches, names,
            clock.seconds,
        )  # fmt: skip

    def match_and_lift(
        self, query: Features, references: NDArray[np.int64], clock: StageClock | None = None
    ) -> Correspondences:
        """Match a query to references, all in one batch, and give every match its 3D point."""
        clock = clock or StageClock()
        with clock("match"):
            semi_dense = self._match(query, references)
        with clock("lift"):
            return self._lift(semi_dense)

    def _lift(self, matches: SemiDenseMatches) -> Correspondences:
        """Look up the 3D points, observed or inferred when the map was built (see lifting.py)."""
        points = np.asarray(self.map.feature_points[matches.feature], dtype=np.float64)
        return Correspondences(
            keypoints=matches.keypoints,
            points3d=points + self.map.origin,
            confidence=np.asarray(self.map.confidence[matches.feature], dtype=np.float64),
            reference=matches.reference,
            reference_keypoints=np.asarray(self.map.keypoints[matches.feature], dtype=np.float64),
        )


def _refuse(image: NDArray[np.uint8], camera: Camera) -> LocalizationFailure | None:
    """Return why an image cannot be a query of a camera, or None."""
    height, width = image.shape[:2]
    if min(height, width) < MIN_IMAGE_SIDE:
        details = f"{width} x {height} pixels, at least {MIN_IMAGE_SIDE} a side"
        return LocalizationFailure(FailureReason.BAD_IMAGE, details)
    if (width, height) != (camera.width, camera.height):
        details = (
            f"the image has {width} x {height} pixels, the camera {camera.width} x {camera.height}"
        )
        return LocalizationFailure(FailureReason.BAD_IMAGE, details)
    return None


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

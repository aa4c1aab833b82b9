"""The parts of the method that a map and a configuration choose."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.attempt import ClusterPose
from deviloc_ros.localization.backend import Backend, backend_of
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.matching.aliked import AlikedMatcher
from deviloc_ros.localization.matching.matcher import Matcher
from deviloc_ros.localization.matching.topicfm import TopicFmMatcher
from deviloc_ros.localization.photometric.aligner import Align
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.localization.photometric.pose import Uncertainty, aligned_pose
from deviloc_ros.localization.pose import PoseHypothesis, agreement
from deviloc_ros.localization.retrieval.ranking import Retrieve
from deviloc_ros.localization.solver import PoseSolver, PublishedSolver, RobustSolver
from deviloc_ros.localization.stage_clock import Mark
from deviloc_ros.localization.types import AlignmentEvidence, Correspondences, Way
from deviloc_ros.maps.map import Map
from deviloc_ros.models.runtime import choose_backend, one_torch_thread

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pipeline:
    """The stages, ready to run.

    Attributes:
        map: what is localized against.
        config: limits and numbers of the stages.
        extractor: gray images to features.
        retrieve: features to clusters of references.
        ways: of matching features and references to 2D-3D matches, each where those before it
            leave doubt.
        solver: matches to a pose.
        align: matches to where the images agree; None: they stay where the matcher put them.
        mark: notes the time on the device, for stage times; None where the host computes.
        compiles_shapes: see Backend.
        openvino_alone: whether OpenVINO computes and torch should leave it the cores.
    """

    map: Map
    config: LocalizerConfig
    extractor: FeatureExtractor
    retrieve: Retrieve
    ways: tuple[tuple[Way, Matcher], ...]
    solver: PoseSolver
    align: Align | None
    mark: Callable[[], Mark] | None
    compiles_shapes: bool
    openvino_alone: bool

    @staticmethod
    def of(reference_map: Map, config: LocalizerConfig) -> Pipeline:
        """Load the networks and the map's global descriptors onto the device.

        Raises:
            InputError: the weights, the device, or what the matcher needs of the map is missing.
        """
        backend = backend_of(config)
        extractor = backend.extractor()
        published = config.matching.matcher == "topicfm"
        solver: PoseSolver = RobustSolver(config)
        if published and config.topicfm.behaviour == "compat":
            solver = PublishedSolver(config.topicfm)
        return Pipeline(
            reference_map,
            config,
            extractor,
            backend.retrieval(reference_map),
            _ways(reference_map, config, backend, solver),
            solver,
            backend.aligner(reference_map) if _aligns(reference_map, config) else None,
            backend.mark,
            backend.compiles_shapes,
            choose_backend(config.features.backend, backend.device) == "openvino"
            and config.matching.matcher == "xfeat",
        )

    @property
    def match(self) -> Matcher:
        """The first way of matching."""
        return self.ways[0][1]

    @property
    def unusable(self) -> NDArray[np.int64]:
        """Indices of the references that cannot be matched with."""
        return self.match.unusable

    @property
    def covariance_scale(self) -> float:
        """The factor on the covariance: the map's, and the user's."""
        of_map = self.map.calibration.scale_of(self.config.matching.matcher)
        return of_map * self.config.pose.covariance_factor

    @property
    def aligned_uncertainty(self) -> Uncertainty:
        """What residuals do not tell of poses of aligned matches."""
        shared = self.map.calibration.aligned_shared_error
        return Uncertainty(shared, self.config.pose.covariance_factor)

    def aggregate(
        self, matches: Correspondences, cluster: NDArray[np.int64], camera: Camera
    ) -> tuple[Correspondences, Correspondences]:
        """Return the matches with one cluster of references, and the same after aggregation."""
        of_cluster = matches.select(np.isin(matches.reference, cluster))
        return of_cluster, self.solver.aggregate(of_cluster, camera)

    def aligned_pose(
        self, first: ClusterPose, aligned: AlignedMatches, camera: Camera
    ) -> tuple[PoseHypothesis, NDArray[np.float64] | None, AlignmentEvidence | None]:
        """Return the pose of aligned matches, its covariance and what else they tell.

        The last two are None where the pose is not determined; see aligned_pose.py.

        Args:
            first: the pose that they were aligned with.
            aligned: the matches.
            camera: intrinsics of the query.
        """
        scale = camera.reduction_to(self.config.features.max_size)
        pose, covariance = aligned_pose(
            first.pose.camera_from_map, aligned, camera, scale, self.aligned_uncertainty
        )
        threshold = self.config.pose.max_reprojection_error * scale
        hypothesis = agreement(pose, first.merged, camera, threshold)
        if covariance is None:
            return hypothesis, None, None
        evidence = AlignmentEvidence(aligned.num_found, aligned.light_change, *covariance.of_pixel)
        return hypothesis, covariance.total, evidence

    def threads(self) -> AbstractContextManager[None]:
        """Return what a query must run in, so that torch and OpenVINO do not fight for cores."""
        return one_torch_thread(self.openvino_alone)


def _ways(
    reference_map: Map, config: LocalizerConfig, backend: Backend, solver: PoseSolver
) -> tuple[tuple[Way, Matcher], ...]:
    """Return the ways of matching that a configuration asks for, the quickest first."""
    if config.matching.matcher == "topicfm":
        return ((Way.FAST, TopicFmMatcher(reference_map, config, backend.device)),)
    if config.matching.matcher == "aliked":
        return ((Way.ALIKED, AlikedMatcher(reference_map, config, backend.device)),)
    fast = backend.matcher(reference_map)
    if config.matching.context == "never":
        return ((Way.FAST, fast),)
    context = backend.context(reference_map, fast, solver)
    if config.matching.context == "always":
        return ((Way.CONTEXT, context),)
    return ((Way.FAST, fast), (Way.CONTEXT, context))


def _aligns(reference_map: Map, config: LocalizerConfig) -> bool:
    """Whether matches are aligned: those of topicfm stay as its paper has them."""
    wanted = config.alignment.enabled and config.matching.matcher != "topicfm"
    if wanted and not reference_map.alignable:
        LOGGER.warning(
            "%s: was made by an older program and holds no images: matches are not aligned, and "
            "poses are less accurate; build it again, or set alignment.enabled=false",
            reference_map.source,
        )
    return wanted and reference_map.alignable

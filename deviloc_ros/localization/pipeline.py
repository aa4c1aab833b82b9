"""The parts of the method that a map and a configuration choose."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.matching import Matcher, SemiDenseMatcher
from deviloc_ros.localization.retrieval import Retrieval
from deviloc_ros.localization.solver import PoseSolver, PublishedSolver, RobustSolver
from deviloc_ros.localization.topicfm import TopicFmMatcher
from deviloc_ros.mapping.map import Map
from deviloc_ros.models.runtime import choose_backend, one_torch_thread


@dataclass(frozen=True)
class Pipeline:
    """The stages, ready to run.

    Attributes:
        map: what is localized against.
        config: limits and numbers of the stages.
        extractor: gray images to features.
        retrieve: features to clusters of references.
        match: features and references to 2D-3D matches.
        solver: matches to a pose.
        openvino_alone: whether OpenVINO computes and torch should leave it the cores.
    """

    map: Map
    config: LocalizerConfig
    extractor: FeatureExtractor
    retrieve: Retrieval
    match: Matcher
    solver: PoseSolver
    openvino_alone: bool

    @staticmethod
    def of(reference_map: Map, config: LocalizerConfig) -> Pipeline:
        """Load the networks and the map's global descriptors onto the device.

        Raises:
            InputError: the weights, the device, or what the matcher needs of the map is missing.
        """
        extractor = FeatureExtractor(config)
        published = config.matching.matcher == "topicfm"
        matcher = TopicFmMatcher if published else SemiDenseMatcher
        solver: PoseSolver = RobustSolver(config)
        if published and config.topicfm.behaviour == "compat":
            solver = PublishedSolver(config.topicfm)
        return Pipeline(
            reference_map,
            config,
            extractor,
            Retrieval(reference_map, config.retrieval, extractor.device),
            matcher(reference_map, config, extractor.device),
            solver,
            choose_backend(config.features.backend, extractor.device) == "openvino"
            and not published,
        )

    @property
    def covariance_scale(self) -> float:
        """The factor on the covariance: the map's, and the user's."""
        of_map = self.map.calibration.scale_of(self.config.matching.matcher)
        return of_map * self.config.pose.covariance_factor

    def threads(self) -> AbstractContextManager[None]:
        """Return what a query must run in, so that torch and OpenVINO do not fight for cores."""
        return one_torch_thread(self.openvino_alone)

"""What computes the stages: chosen once, by the device that a configuration asks for.

The method is the same on each device. A backend encodes images, matches queries with references and
aligns matches with pixels in the way that suits its device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.context.matcher import ContextMatcher
from deviloc_ros.localization.context.search import CpuContextSearch
from deviloc_ros.localization.cuda.alignment import CudaAligner
from deviloc_ros.localization.cuda.batch import CudaBatchMatcher
from deviloc_ros.localization.cuda.context import CudaContextSearch
from deviloc_ros.localization.cuda.features import CudaFeatureExtractor
from deviloc_ros.localization.cuda.matching import CudaMatcher
from deviloc_ros.localization.cuda.retrieval import CudaRetrieval
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.matching.matcher import DenseMatcher, Matcher
from deviloc_ros.localization.matching.semi_dense import SemiDenseMatcher
from deviloc_ros.localization.photometric.aligner import Align, Aligner
from deviloc_ros.localization.retrieval.ranking import Retrieval, Retrieve
from deviloc_ros.localization.solver import PoseSolver
from deviloc_ros.localization.stage_clock import Mark
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import DeviceMark, has_hardware
from deviloc_ros.models.runtime import choose_backend, choose_device


class Backend(Protocol):
    """Makes the stages for a kind of device.

    Attributes:
        device: where features are.
        mark: notes the time on the device; None where the host computes.
        compiles_shapes: whether what it compiles depends on the number of a query's references.
    """

    device: torch.device
    mark: Callable[[], Mark] | None
    compiles_shapes: bool

    def extractor(self) -> FeatureExtractor:
        """Return what encodes images.

        Raises:
            InputError: the weights are missing.
        """
        ...

    def retrieval(self, reference_map: Map) -> Retrieve:
        """Return what chooses references for a query."""
        ...

    def matcher(self, reference_map: Map) -> DenseMatcher:
        """Return what matches queries with references, by nearest neighbours.

        Raises:
            InputError: the weights are missing, or the references do not fit into memory.
        """
        ...

    def context(self, reference_map: Map, matcher: DenseMatcher, solver: PoseSolver) -> Matcher:
        """Return what matches where nearest neighbours leave doubt.

        Args:
            reference_map: the map.
            matcher: of this backend and this map; refines and lifts.
            solver: makes the poses that guide.

        Raises:
            InputError: the weights are missing.
        """
        ...

    def aligner(self, reference_map: Map) -> Align:
        """Return what aligns matches with pixels.

        Raises:
            InputError: the images of references do not fit into memory.
        """
        ...


class CpuBackend:
    """Few matches at a time, in caches; integers and OpenVINO where they are quicker."""

    device = torch.device("cpu")
    mark: Callable[[], Mark] | None = None
    compiles_shapes = False

    def __init__(self, config: LocalizerConfig) -> None:
        """Take the configuration.

        Raises:
            InputError: OpenVINO is asked for and not installed.
        """
        choose_backend(config.features.backend, self.device)
        self._config = config

    def extractor(self) -> FeatureExtractor:
        """See Backend."""
        return FeatureExtractor(self._config)

    def retrieval(self, reference_map: Map) -> Retrieval:
        """See Backend."""
        return Retrieval(reference_map, self._config.retrieval, self.device)

    def matcher(self, reference_map: Map) -> SemiDenseMatcher:
        """See Backend."""
        return SemiDenseMatcher(reference_map, self._config)

    def context(self, reference_map: Map, matcher: DenseMatcher, solver: PoseSolver) -> Matcher:
        """See Backend."""
        assert isinstance(matcher, SemiDenseMatcher)
        return ContextMatcher(CpuContextSearch(reference_map, self._config), matcher, solver)

    def aligner(self, reference_map: Map) -> Aligner:
        """See Backend."""
        return Aligner(reference_map, self._config)


class CudaBackend:
    """Whole batches in few launches; nothing waits for the device but the downloads."""

    compiles_shapes = True

    def __init__(self, config: LocalizerConfig, device: torch.device) -> None:
        """Take the configuration.

        Raises:
            InputError: OpenVINO is asked for.
        """
        choose_backend(config.features.backend, device)
        self._config = config
        self.device = device
        self.mark: Callable[[], Mark] | None = DeviceMark if has_hardware(device) else None

    def extractor(self) -> FeatureExtractor:
        """See Backend."""
        return CudaFeatureExtractor(self._config, self.device)

    def retrieval(self, reference_map: Map) -> CudaRetrieval:
        """See Backend."""
        settings, graphs = self._config.retrieval, self._config.cuda.graphs
        return CudaRetrieval(reference_map, settings, self.device, graphs)

    def matcher(self, reference_map: Map) -> CudaBatchMatcher:
        """See Backend."""
        return CudaBatchMatcher(reference_map, self._config, self.device)

    def context(self, reference_map: Map, matcher: DenseMatcher, solver: PoseSolver) -> Matcher:
        """See Backend."""
        assert isinstance(matcher, CudaMatcher)
        search = CudaContextSearch(reference_map, self._config, matcher.stored)
        return ContextMatcher(search, matcher, solver)

    def aligner(self, reference_map: Map) -> CudaAligner:
        """See Backend."""
        return CudaAligner(reference_map, self._config, self.device)


def backend_of(config: LocalizerConfig) -> Backend:
    """Return the backend for `device`.

    Raises:
        InputError: the device is not available, or cannot run `features.backend`.
    """
    device = choose_device(config.device, config.cuda.tf32)
    return CudaBackend(config, device) if device.type == "cuda" else CpuBackend(config)

"""References chosen on the device: matching goes on with them before the host knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.config import RetrievalConfig
from deviloc_ros.localization.retrieval.global_descriptor import aggregated
from deviloc_ros.localization.retrieval.ranking import Retrieval
from deviloc_ros.localization.types import Features, PosePrior
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import Recorded, upload

Clusters = Sequence[NDArray[np.int64]]


class PendingClusters(Sequence[NDArray[np.int64]]):
    """Clusters of references that the host does not know yet; who asks for one waits.

    Attributes:
        chosen: (K,) int64, on the device: the references, the most similar first; K > 0.
    """

    def __init__(self, chosen: Tensor, grouped: Callable[[NDArray[np.int64]], Clusters]) -> None:
        """Keep what was chosen.

        Args:
            chosen: see above.
            grouped: makes clusters of the references.
        """
        self.chosen = chosen
        self._grouped = grouped
        self._clusters: Clusters | None = None

    @property
    def pending(self) -> bool:
        """Whether the host does not know them."""
        return self._clusters is None

    def resolve(self, chosen: NDArray[np.int64]) -> None:
        """Tell the references (K,), which came from the device by another way."""
        self._clusters = self._grouped(chosen)

    def __bool__(self) -> bool:
        """Return True: there is at least one reference."""
        return True

    def __len__(self) -> int:
        """Return the number of clusters."""
        return len(self._known())

    @overload
    def __getitem__(self, index: int) -> NDArray[np.int64]: ...

    @overload
    def __getitem__(self, index: slice) -> Clusters: ...

    def __getitem__(self, index: int | slice) -> NDArray[np.int64] | Clusters:
        """Return a cluster, or some."""
        return self._known()[index]

    def _known(self) -> Clusters:
        if self._clusters is None:
            self.resolve(self.chosen.cpu().numpy())
        assert self._clusters is not None
        return self._clusters


class CudaRetrieval(Retrieval):
    """Does what Retrieval does; of a map with few enough references nothing waits."""

    def __init__(
        self, reference_map: Map, config: RetrievalConfig, device: torch.device, graphs: bool
    ) -> None:
        """Load the global descriptors onto the device."""
        super().__init__(reference_map, config, device)
        self._device = device
        self._ranked = Recorded(self._by_similarity, graphs, device)

    @torch.inference_mode()
    def __call__(
        self,
        query: Features,
        prior: PosePrior | None,
        excluded: NDArray[np.int64] | None = None,
        candidates: NDArray[np.int64] | None = None,
    ) -> Clusters:
        """Choose references; see Retrieval."""
        if self._index.exact is None or candidates is not None:
            return super().__call__(query, prior, excluded, candidates)
        allowed, count = self._allowed(prior, excluded)
        count = min(count, int(np.count_nonzero(allowed)))
        if not count:
            return []
        penalty = np.where(allowed, 0, -np.inf).astype(np.float32)
        (ranked,) = self._ranked(query.descriptors, upload(penalty, self._device))
        return PendingClusters(ranked[:count], lambda chosen: self._grouped(chosen, prior))

    def _by_similarity(self, descriptors: Tensor, penalty: Tensor) -> tuple[Tensor]:
        """Return all references (R,), the most similar first; of equals the first one."""
        assert self._index.exact is not None
        described = aggregated(descriptors, self._codebook)
        similarity = torch.addmv(penalty, self._index.exact, described)
        return (similarity.sort(descending=True, stable=True).indices,)

"""The most similar of many global descriptors, in two passes.

Of a few thousand descriptors each is compared with the query. Of more, a short list is made by
their principal components, which hold most of what tells places apart (Jegou and Chum, "Negative
evidences and co-occurrences in image retrieval: the benefit of PCA and whitening", ECCV 2012; no
whitening here). Those on it are compared as they are, so that only their rows are read from the
map's file.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

# So many descriptors are compared one by one.
EXACT = 4096
# Principal components, and descriptors that they are learned from.
COMPONENTS, SAMPLE = 128, 1024
# Descriptors that are brought to components at a time.
CHUNK = 4096
# Length of the short list: at least, and for each descriptor that is asked for.
LEAST_LISTED, LISTED = 256, 16


class SimilarityIndex:
    """Compares a query with the descriptors of a map's references."""

    def __init__(self, descriptors: NDArray[np.float16], device: torch.device) -> None:
        """Load descriptors (R, G) onto the device, or of many their components.

        Args:
            descriptors: unit length; may be mapped from a file.
            device: where queries are.
        """
        self._stored = descriptors
        self._device = device
        self._all: torch.Tensor | None = None
        if len(descriptors) <= EXACT:
            self._all = self._rows(np.arange(len(descriptors)))
            return
        rows = np.unique(np.linspace(0, len(descriptors) - 1, SAMPLE).astype(np.int64))
        self._basis = _principal_components(self._rows(rows))
        self._components = torch.cat(
            [
                self._rows(np.arange(start, min(start + CHUNK, len(descriptors)))) @ self._basis
                for start in range(0, len(descriptors), CHUNK)
            ]
        )

    @property
    def exact(self) -> torch.Tensor | None:
        """Descriptors (R, G) float32 on the device, where all are compared; else None."""
        return self._all

    def nearest(
        self, query: torch.Tensor, allowed: NDArray[np.bool_], count: int
    ) -> NDArray[np.int64]:
        """Return the most similar descriptors, the best first.

        Args:
            query: (G,), unit length.
            allowed: (R,), which may be returned.
            count: at most so many.
        """
        candidates = np.flatnonzero(allowed)
        if self._all is not None:
            similarity = (self._all @ query).cpu().numpy()[candidates]
        else:
            candidates = self._listed(query, candidates, max(LEAST_LISTED, LISTED * count))
            similarity = (self._rows(candidates) @ query).cpu().numpy()
        return candidates[np.argsort(-similarity, kind="stable")[:count]]

    def _listed(
        self, query: torch.Tensor, candidates: NDArray[np.int64], length: int
    ) -> NDArray[np.int64]:
        """Return the candidates with the most similar components, ascending."""
        if len(candidates) <= length:
            return candidates
        similarity = (self._components @ (query @ self._basis)).cpu().numpy()[candidates]
        best = np.argpartition(-similarity, length)[:length]
        return np.sort(candidates[best])

    def _rows(self, rows: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(np.array(self._stored[rows])).to(self._device).float()


def _principal_components(sample: torch.Tensor) -> torch.Tensor:
    """Return the directions (G, C) along which descriptors (N, G) differ most."""
    # Of a sample much smaller than the space: the eigenvectors of the inner products.
    values, vectors = torch.linalg.eigh(sample @ sample.T)
    kept = slice(-min(COMPONENTS, len(sample)), None)
    directions: torch.Tensor = sample.T @ vectors[:, kept] / values[kept].clamp(min=1e-9).sqrt()
    return directions

"""One descriptor for a whole image, by which images are compared.

It is a VLAD (Jegou et al., "Aggregating local descriptors into a compact image representation",
CVPR 2010) of the matcher's own local descriptors, normalised per word (Arandjelovic and Zisserman,
"All about VLAD", CVPR 2013), over a codebook made from the map.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from deviloc_ros.localization.features import normalised
from deviloc_ros.localization.types import Features
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map

CODEBOOK_SIZE = 64
CODEBOOK_SAMPLES = 60_000


def sample_descriptors(parts: Sequence[NDArray[Any]], seed: int) -> NDArray[np.float32]:
    """Return descriptors (N, D) of all parts, a bounded number of them, to make a codebook of.

    Args:
        parts: (M, D) each, floats or as maps store them.
        seed: of the choice.
    """
    each = max(1, CODEBOOK_SAMPLES // len(parts))
    generator = np.random.default_rng(seed)
    chosen = [decoded(part[generator.permutation(len(part))[:each]]) for part in parts]
    return np.concatenate(chosen).astype(np.float32, copy=False)


def make_codebook(descriptors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Cluster a sample of descriptors (N, D) into words (C, D) of unit length."""
    unit = descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
    size = min(CODEBOOK_SIZE, len(unit))
    with warnings.catch_warnings():
        # A word that no descriptor is nearest to stays where it began, which does no harm.
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        words, _ = kmeans2(unit, size, iter=20, minit="points", rng=np.random.default_rng(seed))
    norms = np.linalg.norm(words, axis=1, keepdims=True)
    return np.asarray(words / np.maximum(norms, 1e-9), dtype=np.float32)


def describe(features: Features, codebook: torch.Tensor) -> torch.Tensor:
    """Return the global descriptor (C * D,) of an image, unit length."""
    return aggregated(features.descriptors, codebook)


def aggregated(descriptors: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Return the global descriptor (C * D,) of local ones (N, D) by words (C, D), unit length."""
    local = normalised(descriptors)
    word = (local @ codebook.T).argmax(dim=1)
    residual = local - codebook[word]
    # A product with the one-hot assignment sums in a fixed order, which index_add on CUDA does not.
    member = torch.nn.functional.one_hot(word, len(codebook)).to(local.dtype)
    return normalised(normalised(member.T @ residual).flatten())


def describe_reference(
    reference_map: Map, index: int, codebook: torch.Tensor
) -> NDArray[np.float16]:
    """Return the global descriptor (C * D,) of a reference by these words (C, D)."""
    stored = decoded(reference_map.descriptors[reference_map.features_of(index)])
    empty = torch.zeros(0)
    features = Features(empty, torch.from_numpy(stored).float(), empty, empty)
    return describe(features, codebook).numpy().astype(np.float16)

"""Batches of candidates with the true answer, drawn by a number: the same every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deviloc_ros.errors import InputError
from deviloc_ros.lifting.candidates import find_candidates
from deviloc_ros.training.examples import Example, from_dense, from_sparse
from deviloc_ros.training.views import DenseView, SparseView, load_rendered

# Depths of SfM points are not all right: fewer examples are of them.
SPARSE_SHARE = 0.15
# A scene's views are used for so many batches before another one is loaded.
BATCHES_PER_SCENE = 10
# Scenes in memory at once.
CACHED_SCENES = 24


@dataclass(frozen=True)
class Batch:
    """Input of the network and the answer.

    Attributes:
        inputs: (N, C, NUM_INPUTS) float32.
        log_ratio: (N, C) float32.
        valid: (N, C) bool.
        roughness: (N,) float32.
        target: (N,) float32, log(true inverse depth / base).
    """

    inputs: Tensor
    log_ratio: Tensor
    valid: Tensor
    roughness: Tensor
    target: Tensor


class BatchSource:
    """Draws batches from rendered scenes and real views; memory holds one group of scenes."""

    def __init__(
        self,
        scenes: Sequence[Path],
        dense: Sequence[DenseView],
        sparse: Sequence[SparseView],
        seed: int,
        views: int,
        keypoints: int,
    ) -> None:
        """Draw `keypoints` from each of `views` views a batch.

        Raises:
            InputError: there is nothing to draw from.
        """
        if not scenes and not dense and not sparse:
            raise InputError(
                "nothing to train on: no rendered scenes, no model and no depth images"
            )
        self._scenes, self._dense, self._sparse = list(scenes), list(dense), list(sparse)
        self._seed, self._views, self._keypoints = seed, views, keypoints
        self._loaded: dict[Path, list[DenseView]] = {}

    def batch(self, number: int) -> Batch:
        """Return batch `number`; it depends on nothing but that and the seed."""
        generator = np.random.default_rng([self._seed, number])
        group = np.random.default_rng([self._seed, 1, number // BATCHES_PER_SCENE])
        examples: list[Example] = []
        while len(examples) < self._views:
            example = self._draw(generator, group)
            if example is not None:
                examples.append(example)
        return joined([batch_of(example) for example in examples])

    def _draw(self, generator: np.random.Generator, group: np.random.Generator) -> Example | None:
        only_sparse = not self._scenes and not self._dense
        if self._sparse and (only_sparse or generator.random() < SPARSE_SHARE):
            view = self._sparse[generator.integers(0, len(self._sparse))]
            return from_sparse(view, self._keypoints, generator)
        at = int(group.integers(0, len(self._scenes) + bool(self._dense)))
        pool = self._dense if at == len(self._scenes) else self._load(self._scenes[at])
        return from_dense(pool[generator.integers(0, len(pool))], self._keypoints, generator)

    def _load(self, path: Path) -> list[DenseView]:
        if path not in self._loaded:
            while len(self._loaded) >= CACHED_SCENES:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[path] = load_rendered(path)
        return self._loaded[path]


def batch_of(example: Example) -> Batch:
    """Return the candidates of one example."""
    candidates = find_candidates(example.keypoints, example.observations, example.depths)
    target = np.log(1.0 / (example.true_depths * candidates.base))
    return Batch(
        torch.from_numpy(candidates.inputs),
        torch.from_numpy(candidates.log_ratio),
        torch.from_numpy(candidates.valid),
        torch.from_numpy(candidates.roughness),
        torch.from_numpy(target.astype(np.float32)),
    )


def joined(parts: Sequence[Batch]) -> Batch:
    """Return one batch of several."""
    return Batch(
        *(torch.cat([getattr(part, name) for part in parts]) for name in Batch.__annotations__)
    )

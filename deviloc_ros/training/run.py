"""What a training run learns from and is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deviloc_ros.training.batches import BATCHES_PER_SCENE, Batch, BatchSource
from deviloc_ros.training.views import (
    DenseView,
    SparseView,
    depth_views,
    model_views,
    rendered_views,
    split,
)

HELD_OUT_BATCHES = 24
# Every so many views of real sets are held out where nothing is rendered.
HELD_OUT_VIEWS = 8


@dataclass(frozen=True)
class TrainingData:
    """Views to train on and to validate with; no scene is in both.

    Attributes:
        scenes: rendered scenes.
        dense: views of depth sensors.
        sparse: views of models.
        held_out_scenes: rendered scenes to validate with.
        held_out_dense: views to validate with where nothing is rendered.
        held_out_sparse: the same.
        names: what all of it is called.
    """

    scenes: list[Path]
    dense: list[DenseView]
    sparse: list[SparseView]
    held_out_scenes: list[Path]
    held_out_dense: list[DenseView]
    held_out_sparse: list[SparseView]
    names: tuple[str, ...]

    def held_out(self, seed: int, views: int, keypoints: int) -> list[Batch]:
        """Return the batches that every validation uses."""
        source = BatchSource(
            self.held_out_scenes, self.held_out_dense, self.held_out_sparse, seed + 1, views,
            keypoints,
        )  # fmt: skip
        return [source.batch(BATCHES_PER_SCENE * number) for number in range(HELD_OUT_BATCHES)]


def gather(
    output: Path, scenes_per_kind: int, models: Sequence[Path], rgbd: Sequence[Path], seed: int
) -> TrainingData:
    """Render scenes and read models and depth images.

    Where scenes are rendered they alone validate; the real sets are then all trained on.

    Raises:
        InputError: something given cannot be used.
    """
    train: list[Path] = []
    held_out: list[Path] = []
    if scenes_per_kind:
        train, held_out = split(rendered_views(output / "views", scenes_per_kind, seed))
    dense = [view for folder in rgbd for view in depth_views(folder)]
    sparse = [view for model in models for view in model_views(model)]
    names = (f"{scenes_per_kind} scenes a kind", *(path.name for path in (*models, *rgbd)))
    if scenes_per_kind:
        return TrainingData(train, dense, sparse, held_out, [], [], names)
    return TrainingData(
        [], _rest(dense), _rest(sparse), [], dense[::HELD_OUT_VIEWS], sparse[::HELD_OUT_VIEWS],
        names,
    )  # fmt: skip


def _rest(views: Sequence[DenseView] | Sequence[SparseView]) -> list:  # type: ignore[type-arg]
    return [view for i, view in enumerate(views) if i % HELD_OUT_VIEWS]

"""LighterGlue trained on: the loss of LightGlue, a seeded loop that goes on where it stopped."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from tqdm import tqdm

from deviloc_ros.atomic import atomic_path
from deviloc_ros.models.lighterglue import NUM_LAYERS, Assignment, LighterGlue, load_lighterglue
from night.examples import Example

BATCH = 4
WARM_UP = 50
LARGEST_GRADIENT = 1.0
EVERY = 50


@dataclass(frozen=True)
class Quality:
    """How well matches of examples agree with the truth.

    Attributes:
        precision: share of the matches that are right.
        recall: share of the features that are the same which were matched.
    """

    precision: float
    recall: float


def fine_tune(
    examples: Sequence[Example], folder: Path, steps: int, learning_rate: float, seed: int
) -> LighterGlue:
    """Train the published network on; the folder holds where it goes on.

    Raises:
        InputError: the published weights are missing.
    """
    network = load_lighterglue().requires_grad_(True).train()
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=0.0)
    checkpoint = folder / f"{seed}-{steps}-{learning_rate:g}-{len(examples)}.pt"
    begin = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        begin = state["step"]
    bar = tqdm(range(begin, steps), desc="training", unit="step", disable=None)
    for step in bar:
        rng = np.random.default_rng([seed, step])
        chosen = [examples[i] for i in rng.integers(0, len(examples), BATCH)]
        rate = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * rate
        # LightGlue judges every layer; the last and one other are enough, and cost less.
        layers = {NUM_LAYERS - 1, int(rng.integers(NUM_LAYERS))}
        loss = _loss(network, chosen, layers)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            with atomic_path(checkpoint) as temporary:
                torch.save(state | {"step": step + 1}, temporary)
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def quality(network: LighterGlue, examples: Sequence[Example], min_probability: float) -> Quality:
    """Compare matches with the truth."""
    right = found = wanted = 0
    for example in examples:
        scores = network(*_inputs([example]))[0][0]
        value, best = scores.max(dim=1)
        mutual = scores.argmax(dim=0)[best] == torch.arange(len(best))
        (rows,) = torch.nonzero(mutual & (value > math.log(min_probability)), as_tuple=True)
        matches = {(int(row), int(best[row])) for row in rows}
        truth = {(int(a), int(b)) for a, b in example.same}
        right += len(matches & truth)
        found += len(matches)
        wanted += len(truth)
    return Quality(right / max(found, 1), right / max(wanted, 1))


def _loss(network: LighterGlue, examples: Sequence[Example], layers: Collection[int]) -> Tensor:
    """Return the mean over layers of the negative log-likelihood (LightGlue, equation 11)."""
    terms = []
    for scores, judge, first, second in _layers(network, layers, *_inputs(examples)):
        for i, example in enumerate(examples):
            same = torch.from_numpy(example.same)
            matched = -scores[i, same[:, 0], same[:, 1]].mean()
            alone = [
                F.softplus(judge.matchable(features[i : i + 1])[0][torch.from_numpy(rows)]).mean()
                for features, rows in (
                    (first, example.first_alone), (second, example.second_alone)
                )
                if rows.any()
            ]  # fmt: skip
            terms.append(matched + sum(alone) / 2)
    return torch.stack(terms).mean()


def _layers(
    network: LighterGlue,
    wanted: Collection[int],
    first: Tensor,
    first_places: Tensor,
    second: Tensor,
    second_places: Tensor,
) -> list[tuple[Tensor, Assignment, Tensor, Tensor]]:
    """Return what these layers would answer: scores, its assignment, and the features."""
    codes = network.encode(first_places), network.encode(second_places)
    first, second = network.input(first), network.input(second)
    result = []
    layers = zip(network.self_attention, network.cross_attention, network.assignment, strict=True)
    for number, (alone, across, assignment) in enumerate(layers):
        first, second = across(alone(first, *codes[0]), alone(second, *codes[1]))
        assert isinstance(assignment, Assignment)
        if number not in wanted:
            continue
        result.append((assignment(first, second), assignment, first, second))
    return result


def _inputs(examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    names = "first", "first_places", "second", "second_places"
    arrays = (np.stack([getattr(example, name) for example in examples]) for name in names)
    first, first_places, second, second_places = (torch.from_numpy(a).float() for a in arrays)
    return first, first_places, second, second_places

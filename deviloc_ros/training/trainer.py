"""The training loop: seeded, resumable, the same result whether or not it was interrupted."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.lifting.candidates import NUM_INPUTS
from deviloc_ros.lifting.network import LiftNetwork
from deviloc_ros.training.batches import Batch, BatchSource
from deviloc_ros.training.validation import Validation, validate

WEIGHT_DECAY = 1e-3
WARM_UP = 100
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class TrainingOptions:
    """What a training run is made of.

    Attributes:
        steps: batches in all.
        learning_rate: highest; it rises at first and then falls along a cosine.
        seed: of the initial weights; batches have their own.
        every: steps between validations and checkpoints.
        data: what is trained on, to be told from another run's.
    """

    steps: int
    learning_rate: float = 2e-3
    seed: int = 0
    every: int = 250
    data: tuple[str, ...] = ()


@dataclass
class History:
    """Curves of a run.

    Attributes:
        loss: of every step.
        steps: of each validation.
        validations: what it found.
    """

    loss: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    validations: list[Validation] = field(default_factory=list)


class Trainer:
    """Trains a LiftNetwork; `checkpoint.pt` in its folder is where it goes on."""

    def __init__(self, folder: Path, options: TrainingOptions) -> None:
        """Start, or take up what the folder holds.

        Raises:
            InputError: the folder holds a run with other options.
        """
        self.options = options
        self.history = History()
        self.step = 0
        self._checkpoint = folder / "checkpoint.pt"
        self._fingerprint = hashlib.sha256(json.dumps(asdict(options)).encode()).hexdigest()
        torch.manual_seed(options.seed)
        self.network = LiftNetwork(NUM_INPUTS)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), options.learning_rate, weight_decay=WEIGHT_DECAY
        )
        folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._resume()

    def run(self, source: BatchSource, held_out: list[Batch]) -> Validation:
        """Train to the end and return the last validation."""
        options = self.options
        with tqdm(
            total=options.steps, initial=self.step, desc="training", unit="step", disable=None
        ) as bar:
            while self.step < options.steps:
                self.history.loss.append(self._train(source.batch(self.step)))
                self.step += 1
                bar.update()
                if self.step % options.every == 0 or self.step == options.steps:
                    found = validate(self.network, held_out)
                    self.history.steps.append(self.step)
                    self.history.validations.append(found)
                    self._save()
                    bar.set_postfix(loss=f"{found.loss:.3f}", error=f"{found.mean_error:.4f}")
        return self.history.validations[-1]

    def export(self, path: Path) -> None:
        """Write the weights as safetensors, with how they came about."""
        metadata = {key: json.dumps(value) for key, value in asdict(self.options).items()}
        with atomic_path(path) as temporary:
            save_file(self.network.state_dict(), temporary, metadata)

    def _train(self, batch: Batch) -> float:
        options = self.options
        rate = min(1.0, (self.step + 1) / WARM_UP)
        rate *= 0.5 * (1 + math.cos(math.pi * self.step / options.steps)) + 0.01
        for group in self._optimizer.param_groups:
            group["lr"] = options.learning_rate * rate
        mixture = self.network(batch.inputs, batch.log_ratio, batch.valid, batch.roughness)
        loss = -mixture.log_likelihood(batch.target).mean()
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        return float(loss.detach())

    def _save(self) -> None:
        state = {
            "fingerprint": self._fingerprint,
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "history": asdict(self.history),
        }
        with atomic_path(self._checkpoint) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        try:
            state: dict[str, Any] = torch.load(self._checkpoint, weights_only=True)
            fingerprint = state["fingerprint"]
        except Exception:
            raise InputError(
                f"{self._checkpoint}: cannot be read; remove it to start over"
            ) from None
        if fingerprint != self._fingerprint:
            raise InputError(
                f"{self._checkpoint}: is of a run with other options or data; give another "
                "--output, or remove it to start over"
            )
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        stored = state["history"]
        validations = [Validation(**entry) for entry in stored["validations"]]
        self.history = History(stored["loss"], stored["steps"], validations)

"""Recorded arrays of one parity file, and comparisons with the tolerances of its README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

FEATURE = 1e-4
CONFIDENCE = 1e-4
# Sums in another order, as of CPUs without AVX-512, move a fine keypoint by up to 0.0026 px.
PIXEL = 3e-3
POINT = 2e-3
# Times the magnitude of each value, at least 1; the README allows 5e-5 on other hardware.
RELATIVE = 2e-5
TOPIC_MISMATCH = 0.005


class Recorded:
    """Arrays of a file under an optional prefix; knows which of them have been looked at."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        with np.load(path, allow_pickle=False) as file:
            self._arrays = {
                key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)
            }
        self._unused = set(self._arrays)
        assert self._arrays, f"{path}: nothing under {prefix!r}"

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def __getitem__(self, key: str) -> NDArray[Any]:
        self._unused.discard(key)
        array: NDArray[Any] = self._arrays[key]
        return array

    def tensor(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self[key].astype(np.float32))

    def image(self, key: str) -> torch.Tensor:
        return self.tensor(key)[None, None] / 255

    def scale(self, key: str) -> tuple[float, float]:
        x, y = self[key].tolist()
        return x, y

    def assert_all_used(self) -> None:
        assert not self._unused, f"arrays never compared: {sorted(self._unused)}"


def assert_close(
    name: str, ours: ArrayLike | torch.Tensor, theirs: ArrayLike, limit: float
) -> None:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, recorded {theirs.shape}"
    error = float(np.abs(ours - theirs).max(initial=0.0))
    assert error <= limit, f"{name}: off by {error:.3g}, allowed {limit:.3g}"


def assert_relative(name: str, ours: ArrayLike | torch.Tensor, theirs: ArrayLike) -> None:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, recorded {theirs.shape}"
    error = float((np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))).max(initial=0.0))
    assert error <= RELATIVE, f"{name}: relatively off by {error:.3g}, allowed {RELATIVE:.3g}"


def assert_same(name: str, ours: ArrayLike | torch.Tensor, theirs: ArrayLike) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, recorded {theirs.shape}"
    assert np.array_equal(ours, theirs), f"{name}: {np.sum(ours != theirs)} entries differ"


def counterpart(name: str, ours: ArrayLike, theirs: ArrayLike, limit: float) -> NDArray[np.int64]:
    """Return for each recorded row our row within `limit`; a one-to-one relation is required."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, recorded {theirs.shape}"
    if len(theirs) == 0:
        return np.zeros(0, np.int64)
    distance = np.abs(theirs[:, None] - ours[None]).max(axis=2)
    index: NDArray[np.int64] = distance.argmin(axis=1)
    worst = float(distance.min(axis=1).max())
    assert worst <= limit, f"{name}: off by {worst:.3g}, allowed {limit:.3g}"
    assert len(np.unique(index)) == len(index), f"{name}: rows are not one to one"
    return index

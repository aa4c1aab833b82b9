"""Descriptors as a map stores them and as coarse matching compares them: 8 bits an element.

XFeat's raw descriptors stay within +-8, in units of which sixteen steps are stored. Coarse matching
on a CPU compares these steps, so that nothing is lost to it by storing them; half a step is 3 % of
the usual element, which the fine offsets do not notice (docs/speed.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

STEPS_PER_UNIT = 16.0


def encoded(descriptors: torch.Tensor) -> torch.Tensor:
    """Return descriptors (N, D), float, as int8."""
    steps = (descriptors * STEPS_PER_UNIT).round_().clamp_(-127, 127)
    return steps.to(torch.int8)


def rounded(descriptors: torch.Tensor) -> torch.Tensor:
    """Return descriptors (N, D), float32, as they would be after being stored; one operation."""
    return torch.fake_quantize_per_tensor_affine(descriptors, 1 / STEPS_PER_UNIT, 0, -127, 127)


def decoded(stored: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return stored descriptors (N, D) as they were to within half a step.

    Args:
        stored: int8, or floats as maps of version 2 and older hold them, which stay as they are.
    """
    if stored.dtype != np.int8:
        return np.array(stored)
    # Exact: float16 holds all multiples of a sixteenth up to 128.
    return np.asarray(stored.astype(np.float16) / np.float16(STEPS_PER_UNIT), dtype=np.float16)

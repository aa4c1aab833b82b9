"""What CUDA needs to be told: exact products, uploads that nothing waits for, recorded graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

LOGGER = logging.getLogger(__name__)

Precision = Literal["float32", "float16", "bfloat16"]

# Sizes of images for which a graph is kept: each holds the memory of its intermediate results.
_GRAPHS_KEPT = 8
# Runs before a graph is recorded: libraries choose kernels and allocate work memory in the first.
_RUNS_BEFORE = 3


def compute_exactly(tf32: bool) -> None:
    """Have CUDA compute in this process the same in each run, and float32 as float32.

    PyTorch lets convolutions round float32 to the 10 bits of TF32 unless it is told otherwise.

    Args:
        tf32: round to TF32 anyway, products as well: faster, less exact.
    """
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def upload(array: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Return the values of a writable array, or of a CPU's tensor, on a device; nothing waits.

    The copy leaves from page-locked memory, which torch keeps until the copy is done.
    """
    tensor = array if isinstance(array, Tensor) else torch.from_numpy(array)
    if has_hardware(device):
        locked = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        # Torch would wake its threads for this, which takes longer than the copy.
        np.copyto(locked.numpy(), tensor.numpy())
        tensor = locked
    return tensor.to(device, non_blocking=True)


def has_hardware(device: torch.device) -> bool:
    """Return whether this is a CUDA device of a torch that was built for CUDA.

    Tests let a CPU take its place, which has no streams, graphs and page-locked memory.
    """
    return device.type == "cuda" and torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]


def products_of_halves(first: Tensor, second: Tensor) -> Tensor:
    """Return products (B, N, M), float32, of (B, N, D) and (B, D, M) rounded to float16 before.

    Tensor cores take 16 bits and sum in 32, many times faster than 32 bits are multiplied.
    """
    first, second = first.half(), second.half()
    # Older versions of torch would round the products, too.
    typed = "dtype" in torch.ops.aten.bmm.overloads()  # type: ignore[no-untyped-call]
    if typed and has_hardware(first.device):
        return torch.bmm(first, second, out_dtype=torch.float32)
    return torch.bmm(first.float(), second.float())


@dataclass(frozen=True)
class _Recording:
    """A graph, and the tensors that it reads and writes."""

    graph: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Recorded:
    """A function of tensors, recorded as a CUDA graph for each shape of its inputs.

    A recorded graph starts as one launch what would be a hundred. The function must not wait for
    the device, and must give the same shapes for the same shapes.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], wanted: bool, device: torch.device
    ) -> None:
        """Wrap a function.

        Args:
            function: the function.
            wanted: else, and on a device that has no graphs, it is called as it is.
            device: where its tensors are.
        """
        self._function = function
        self.wanted = wanted
        self._active = wanted and has_hardware(device)
        self._recordings: LRUCache[tuple[Any, ...], _Recording] = LRUCache(_GRAPHS_KEPT)

    @torch.inference_mode()
    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what the function gives."""
        if not self._active:
            return self._function(*inputs)
        key = tuple((each.shape, each.dtype) for each in inputs)
        recording = self._recordings.get(key)
        if recording is None:
            try:
                recording = self._recordings[key] = self._record(inputs)
            except RuntimeError as error:
                LOGGER.warning(
                    "no CUDA graph could be recorded, so each query takes more launches; "
                    "cuda.graphs=false avoids the attempt: %s",
                    " ".join(str(error).split())[:200],
                )
                self._active = False
                return self._function(*inputs)
        for held, given in zip(recording.inputs, inputs, strict=True):
            held.copy_(given)
        recording.graph.replay()
        # The next run overwrites the graph's own results.
        return tuple(output.clone() for output in recording.outputs)

    def _record(self, inputs: tuple[Tensor, ...]) -> _Recording:
        held = tuple(each.clone() for each in inputs)
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_RUNS_BEFORE):
                self._function(*held)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the device.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = self._function(*held)
        return _Recording(graph, held, outputs)


class DeviceMark:
    """A moment on the current stream of a CUDA device."""

    def __init__(self) -> None:
        """Have the device note the time when it has done what it was asked for until now."""
        self._event: Any = torch.cuda.Event(  # type: ignore[no-untyped-call]
            enable_timing=True
        )
        self._event.record()

    def seconds_since(self, earlier: DeviceMark) -> float:
        """Wait until the device has passed both, and return the time between."""
        self._event.synchronize()
        return float(earlier._event.elapsed_time(self._event)) / 1000.0

"""What runs a network: torch on any device, or OpenVINO on a CPU.

OpenVINO's converter never gives back the memory of a module that it was given, about four times its
weights. A robot that loads map after map would fill the computer, so each module is converted once
in a process, and kept for the next one (kept_networks.py). It is also compiled once for the shapes
of its inputs: a map in the making has a localizer for each of dozens of images.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from cachetools import LRUCache
from torch import Tensor, nn

from deviloc_ros.errors import InputError
from deviloc_ros.models.cuda import compute_exactly
from deviloc_ros.models.kept_networks import keep, kept, network_key

KEPT = 16
"""Modules that are kept; a process uses a handful."""

COMPILED_KEPT = 16
"""Compiled forms of modules that are kept for who comes next: they hold weights."""

_lock = threading.Lock()
_converted: LRUCache[str, Any] = LRUCache(KEPT)
# With the model, so that no other one gets its address, which is in the key.
_compiled: LRUCache[tuple[object, ...], tuple[Any, Any]] = LRUCache(COMPILED_KEPT)
_core: list[Any] = []


def converted(module: nn.Module, examples: Sequence[Tensor]) -> Any:
    """Return a module as an OpenVINO model; to be cloned, not changed.

    Args:
        module: in evaluation mode; takes tensors, gives a tensor or a tuple of tensors.
        examples: of its inputs, to trace it with.
    """
    key = network_key(module, examples)
    core = openvino_core()
    with _lock:
        if key.digest not in _converted:
            _converted[key.digest] = kept(key, core) or keep(key, _convert(module, examples), core)
        return _converted[key.digest]


def _convert(module: nn.Module, examples: Sequence[Tensor]) -> Any:
    # OpenVINO's converter reports its use over the network; without this module it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    example = examples[0] if len(examples) == 1 else tuple(examples)
    # torch deprecates torch.jit. torch.export gives the same numbers, but takes ten times as long,
    # at every start.
    with warnings.catch_warnings(), torch.inference_mode():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", r".*torch\.jit", category)
        # The check would trace twice more at every start; tests compare both backends instead.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            module, example, check_trace=False
        )
        return openvino.convert_model(traced, example_input=example)


def openvino_core() -> Any:
    """Return the one core of this process, which is never given back.

    A core's CPU plugin gives the thread that loads it an alternate signal stack, and unmaps that
    stack when the core dies. Where another thread lets the last core go, as when a new map takes
    the place of an old one, the first thread keeps a stack that is not there any more: its next
    signal ends the process by a segmentation fault (seen with OpenVINO 2026.4).
    """
    # OpenVINO's converter reports its use over the network; without this module it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    with _lock:
        if not _core:
            _core.append(openvino.Core())
        return _core[0]


def compiled(
    model: Any, shapes: Sequence[tuple[int, ...]], settings: Mapping[str, str | int]
) -> Any:
    """Return a model compiled for a CPU; several may run requests of it.

    Args:
        model: see `converted`.
        shapes: of its inputs; -1: any.
        settings: of OpenVINO.
    """
    core = openvino_core()
    key = id(model), tuple(shapes), *sorted(settings.items())
    with _lock:
        if key not in _compiled:
            reshaped = model.clone()
            ports = zip(reshaped.inputs, shapes, strict=True)
            reshaped.reshape({port: list(shape) for port, shape in ports})
            _compiled[key] = model, core.compile_model(reshaped, "CPU", dict(settings))
        return _compiled[key][1]


Network = Callable[..., tuple[Tensor, ...]]
Backend = Literal["auto", "torch", "openvino"]

# Compiled forms of a module that are kept: they hold weights and work memory.
_SHAPES_KEPT = 8


def choose_device(name: Literal["auto", "cpu", "cuda"], tf32: bool = False) -> torch.device:
    """Return the device that a configuration asks for; `auto` is CUDA where there is one.

    On CUDA the whole process then computes as `compute_exactly` says.

    Raises:
        InputError: CUDA is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("device = cuda: this machine has no usable CUDA device; use auto or cpu")
    if not available or name == "cpu":
        return torch.device("cpu")
    compute_exactly(tf32)
    return torch.device("cuda")


def choose_backend(backend: Backend, device: torch.device) -> Literal["torch", "openvino"]:
    """Return the backend that a configuration asks for; `auto` is OpenVINO on a CPU that has it.

    Raises:
        InputError: OpenVINO is asked for and is not installed, or the device is not the CPU.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if backend == "openvino" and (not installed or device.type != "cpu"):
        raise InputError("features.backend = openvino: needs the package openvino and device cpu")
    if backend == "torch" or device.type != "cpu" or not installed:
        return "torch"
    return "openvino"


def has_integer_products(backend: Backend, device: torch.device) -> bool:
    """Return whether products of 8-bit integers are quicker than others, and exact.

    CPUs with bfloat16 have the instructions (VNNI) too; on older ones sums may overflow.
    """
    if choose_backend(backend, device) != "openvino":
        return False
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@contextmanager
def one_torch_thread(active: bool) -> Iterator[None]:
    """Let torch compute on the calling thread alone, where OpenVINO has the cores.

    Threads of torch's that wait for work spin, and take the cores from OpenVINO's.
    """
    threads = torch.get_num_threads()
    if not active or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def prepare(
    module: nn.Module,
    backend: Backend,
    device: torch.device,
    *examples: Tensor,
    any_length: bool = False,
) -> Network:
    """Return a function that runs a module for inference.

    Args:
        module: in evaluation mode; takes tensors, gives a tensor or a tuple of tensors.
        backend: see `choose_backend`. OpenVINO computes in bfloat16 where the CPU has it.
        device: where input is and output will be.
        examples: of its inputs, to trace the module with; other shapes of the same rank are
            accepted.
        any_length: see OpenVinoProgram.

    Returns:
        A function from float32 tensors to a tuple of tensors.
    """
    if choose_backend(backend, device) == "openvino":
        return OpenVinoProgram(module, *examples, any_length=any_length)
    module = module.to(device)

    @torch.inference_mode()
    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        outputs: Tensor | tuple[Tensor, ...] = module(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return run


class OpenVinoProgram:
    """A module compiled by OpenVINO, once for each shape of its inputs that was used lately."""

    def __init__(
        self,
        module: nn.Module,
        *examples: Tensor,
        precision: Literal["f32", "bf16"] | None = None,
        any_length: bool = False,
    ) -> None:
        """Trace a module with examples of its inputs, with its weights as they are now.

        Args:
            module: in evaluation mode; takes tensors, gives a tensor or a tuple of tensors.
            examples: other shapes of the same rank are accepted later.
            precision: of products; None: bfloat16 where the CPU has it.
            any_length: compile once for all sizes of the second dimension. As quick for networks of
                matrix products; convolutions are quicker when their sizes are known.
        """
        self._settings: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        if precision is not None:
            self._settings["INFERENCE_PRECISION_HINT"] = precision
        self._model = converted(module, examples)
        self._any_length = any_length
        self._requests: LRUCache[tuple[tuple[int, ...], ...], Any] = LRUCache(_SHAPES_KEPT)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the module on float32 tensors."""
        return tuple(output.clone() for output in self.lend(*inputs))

    def lend(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Do the same with results in the program's own memory: the next call overwrites them."""
        shapes = tuple(self._shape(each) for each in inputs)
        request = self._requests.get(shapes)
        if request is None:
            program = compiled(self._model, shapes, self._settings)
            request = self._requests[shapes] = program.create_infer_request()
        result = request.infer(
            [each.contiguous().numpy() for each in inputs], share_inputs=True, share_outputs=True
        )
        return tuple(torch.from_numpy(result[port]) for port in request.results)

    def _shape(self, value: Tensor) -> tuple[int, ...]:
        """Return the shape to compile for; -1: any."""
        shape = tuple(value.shape)
        return (shape[0], -1, *shape[2:]) if self._any_length else shape

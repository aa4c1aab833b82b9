"""A CUDA device that is not there: tensors that say `cuda:0`, with real values in the CPU's memory.

Code for CUDA runs on a CPU build of torch. What CUDA refuses is refused: operations on tensors of
two devices, and arrays of what lies on the device. What takes time there is counted, by stage and
by place in the code: launches (operations that are not views), synchronisations (the host waits for
the device) and copies between both. Times say nothing. It needs g++, once for each torch.

    with mock_cuda() as log:
        ...
    print(log.num_launches, log.num_synchronisations)
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import thread
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.models.cuda import Recorded

DEVICE = torch.device("cuda", 0)
PACKAGE = "deviloc_ros"
# Operations that start no kernel, though they return no view.
WITHOUT_KERNEL = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh",
    "detach", "alias", "_local_scalar_dense", "_reshape_alias", "is_same_size", "_unsafe_view",
    "set_", "resize_", "lift",
}  # fmt: skip
# Operations whose result the host needs before it goes on: a number, or the size of an array.
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal",
    "is_nonzero", "_linalg_check_errors", "unique_consecutive",
}  # fmt: skip
INDEXING = {"index", "index_put_", "index_put", "_unsafe_index", "_index_put_impl_"}
MAY_MIX = {"_has_compatible_shallow_copy_type", "_to_copy", "copy_", "_copy_from", "lift_fresh"}
GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, NoOpDeviceGuardImpl<DeviceType::CUDA>)
}
"""

Place = tuple[str, str, str]


def _counter() -> collections.Counter[Place]:
    return collections.Counter()


@dataclass
class Log:
    """What a CUDA device would have been asked to do.

    Attributes:
        launches: number of kernels, by stage, place in the package and operation. A CUDA graph is
            one of them, as are the copies into it and from it.
        recorded: number of kernels within graphs, likewise.
        synchronisations: how often the host waited, likewise.
        copies: between host and device, likewise.
    """

    launches: collections.Counter[Place] = field(default_factory=_counter)
    recorded: collections.Counter[Place] = field(default_factory=_counter)
    synchronisations: collections.Counter[Place] = field(default_factory=_counter)
    copies: collections.Counter[Place] = field(default_factory=_counter)

    @property
    def num_launches(self) -> int:
        """Number of kernels and graphs that the host started."""
        return sum(self.launches.values())

    @property
    def num_recorded(self) -> int:
        """Number of kernels that graphs started."""
        return sum(self.recorded.values())

    @property
    def num_synchronisations(self) -> int:
        """How often the host waited for the device."""
        return sum(self.synchronisations.values())

    def clear(self) -> None:
        """Forget what was counted."""
        for counter in self._counters():
            counter.clear()

    def _counters(self) -> tuple[collections.Counter[Place], ...]:
        return self.launches, self.synchronisations, self.copies, self.recorded

    def of_stages(self) -> dict[str, tuple[int, ...]]:
        """Return launches, synchronisations, copies, and launches in graphs, of each stage."""
        counters = self._counters()
        stages = dict.fromkeys(stage for counter in counters for stage, _, _ in counter)
        return {
            name: tuple(
                sum(count for (stage, _, _), count in counter.items() if stage == name)
                for counter in counters
            )
            for name in stages
        }

    def key(self, operation: str) -> Place:
        """Return what an operation is counted under."""
        frame: Any = sys._getframe(1)
        while frame is not None:
            name = frame.f_code.co_filename
            if f"/{PACKAGE}/" in name and "site-packages" not in name:
                place = name.rsplit(f"/{PACKAGE}/", 1)[1]
                return _now.stage, f"{place}:{frame.f_lineno}", operation
            frame = frame.f_back
        return _now.stage, "elsewhere", operation

    def started(self, key: Place) -> None:
        """Count a kernel."""
        (self.recorded if _now.in_graph else self.launches)[key] += 1

    def waited(self, key: Place) -> None:
        """Count a synchronisation, which a graph cannot hold."""
        if _now.in_graph:
            raise RuntimeError(f"a CUDA graph cannot wait for the device ({key[2]} at {key[1]})")
        self.synchronisations[key] += 1


class _Now(threading.local):
    """What a thread is about: the stage of the method, and whether a graph is recorded."""

    stage = "-"
    in_graph = False


_log = Log()
_now = _Now()


class CudaTensor(torch.Tensor):
    """A tensor that says it is on the device; its values are in `inner`."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> CudaTensor:
        """Wrap a tensor of the CPU."""
        made: CudaTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, layout=inner.layout, device=DEVICE,
            requires_grad=inner.requires_grad,
        )  # fmt: skip
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        """Return its shape and type; values are on the device."""
        return f"CudaTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        return _run(func, args, kwargs or {})


def _on_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _check_devices(name: str, key: Place, args: Any, tensors: list[torch.Tensor]) -> None:
    """Refuse tensors of two devices; numbers may come from the CPU."""
    others = [each for each in tensors if not isinstance(each, CudaTensor)]
    if not others or len(others) == len(tensors) or name in MAY_MIX:
        return
    if name in INDEXING and isinstance(args[0], CudaTensor):
        _log.copies[key] += 1
        _log.waited(key)
    elif any(each.dim() for each in others) or name in ("cat", "stack", "mm", "bmm", "addmm"):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found cuda:0 and cpu! "
            f"({name} at {key[1]})"
        )


def _copied(key: Place, to_device: bool, from_device: bool, asynchronous: bool, out: Any) -> Any:
    """Count a copy, which is a launch where it stays on one device."""
    if to_device != from_device:
        if _now.in_graph:
            raise RuntimeError(f"a CUDA graph cannot copy from or to the host (at {key[1]})")
        _log.copies[key] += 1
        # A copy to the host waits, and one from memory that is not page-locked (models/cuda.py).
        if from_device or not asynchronous:
            _log.waited(key)
    elif to_device:
        _log.started(key)
    return out


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the values, and count it."""
    name = func._schema.name.removeprefix("aten::")
    leaves, spec = tree_flatten((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    mine = [leaf for leaf in tensors if isinstance(leaf, CudaTensor)]
    key, wanted = _log.key(name), kwargs.get("device")
    _check_devices(name, key, args, tensors)
    values = [leaf.inner if isinstance(leaf, CudaTensor) else leaf for leaf in leaves]
    of_values, named = tree_unflatten(values, spec)
    if _on_cuda(wanted):
        named = {**named, "device": torch.device("cpu")}
    out = func(*of_values, **named)
    if name == "_to_copy":
        to_device = _on_cuda(wanted) if wanted is not None else bool(mine)
        asynchronous = kwargs.get("non_blocking", False)
        out = CudaTensor(out) if to_device else out
        return _copied(key, to_device, bool(mine), asynchronous, out)
    if name == "copy_":
        into = isinstance(args[0], CudaTensor)
        return _copied(key, into, isinstance(args[1], CudaTensor), False, args[0])
    if not mine and not _on_cuda(wanted):
        return out
    masks = name in INDEXING and any(
        isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1]
    )
    if masks or name in WAITING:
        _log.waited(key)
    returns = func._schema.returns
    if name not in WITHOUT_KERNEL and not any(
        each.alias_info is not None and not each.alias_info.is_write for each in returns
    ):
        _log.started(key)
    known = {id(leaf.inner): leaf for leaf in mine}

    def wrapped(value: torch.Tensor) -> torch.Tensor:
        if isinstance(value, CudaTensor):
            return value
        return known[id(value)] if id(value) in known else CudaTensor(value)

    return tree_map_only(torch.Tensor, wrapped, out)


class _Dispatching(TorchDispatchMode):
    """Sends what makes tensors on the device there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves, _ = tree_flatten((args, kwargs))
        devices = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
        if not any(map(_on_cuda, devices)) and not any(isinstance(x, CudaTensor) for x in leaves):
            return func(*args, **kwargs)
        # In inference mode composite operations come here whole.
        if func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
            with self:
                return func.decompose(*args, **kwargs)
        return _run(func, args, kwargs)


class _Naming(TorchFunctionMode):
    """Makes `cuda` of a call `cuda:0`; a CPU build cannot ask which device is the current one."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}

        def indexed(value: Any) -> Any:
            named = isinstance(value, torch.device) and value.type == "cuda" and value.index is None
            return DEVICE if named or (isinstance(value, str) and value == "cuda") else value

        if args and isinstance(args[0], CudaTensor):
            if func is torch.Tensor.new_tensor:
                return torch.tensor(args[1], **{"dtype": args[0].dtype, "device": DEVICE, **kwargs})
            if func is torch.Tensor.tolist:
                _log.waited(_log.key("tolist"))
                return args[0].inner.tolist()
            if func in (torch.Tensor.numpy, torch.Tensor.__array__):
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return func(*map(indexed, args), **{name: indexed(kwargs[name]) for name in kwargs})


def _attention(original: Any) -> Any:
    """Return scaled dot-product attention, counted as the one kernel that it is on CUDA."""

    def attend(*args: Any, **kwargs: Any) -> Any:
        if not isinstance(args[0], CudaTensor):
            return original(*args, **kwargs)
        if torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
            args = tuple(x.to(dtype) if isinstance(x, CudaTensor) else x for x in args)
        key = _log.key("scaled_dot_product_attention")
        # Three dimensions have no fused kernel: products and softmax apart, in float32.
        for _ in range(1 if args[0].dim() == 4 else 5):
            _log.started(key)
        leaves, spec = tree_flatten((args, kwargs))
        _check_devices("cat", key, args, [x for x in leaves if isinstance(x, torch.Tensor)])
        values = [leaf.inner if isinstance(leaf, CudaTensor) else leaf for leaf in leaves]
        of_values, named = tree_unflatten(values, spec)
        with torch.no_grad():
            return CudaTensor(original(*of_values, **named))

    return attend


def _register_guard() -> None:
    """Give a CPU build of torch what it asks for when tensors are on CUDA: a guard of nothing."""
    root = Path(torch.__file__).parent
    library = Path(tempfile.gettempdir()) / f"mock_cuda_{os.getuid()}_{torch.__version__}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            source, made = Path(folder) / "guard.cpp", Path(folder) / "guard.so"
            source.write_text(GUARD)
            abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch._C._GLIBCXX_USE_CXX11_ABI)}"
            subprocess.run(
                ["g++", "-O1", "-shared", "-fPIC", "-std=c++20", abi, f"-I{root}/include",
                 str(source), f"-L{root}/lib", "-lc10", "-o", str(made)],
                check=True,
            )  # fmt: skip
            os.replace(made, library)
    ctypes.CDLL(str(library))


@contextlib.contextmanager
def _stages_named() -> Iterator[None]:
    """Have stages tell the log when they run."""
    original = StageClock.__call__

    @contextlib.contextmanager
    def call(self: StageClock, stage: str) -> Iterator[None]:
        before, _now.stage = _now.stage, stage
        try:
            with original(self, stage):
                yield
        finally:
            _now.stage = before

    StageClock.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        StageClock.__call__ = original  # type: ignore[method-assign]


def _graph(original: Any) -> Any:
    """Return the call of a recorded function, counted as the graph that CUDA would start."""

    def call(self: Recorded, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if not self.wanted or not any(isinstance(each, CudaTensor) for each in inputs):
            return original(self, *inputs)  # type: ignore[no-any-return]
        key = _log.key("graph")
        _now.in_graph = True
        try:
            outputs: tuple[torch.Tensor, ...] = original(self, *inputs)
        finally:
            _now.in_graph = False
        _log.launches[key] += len(inputs) + 1 + len(outputs)
        return outputs

    return call


def _in_thread(original: Any) -> Any:
    """Return how a thread of a pool works, with the device there as well."""

    def run(item: Any) -> None:
        with _Naming(), _Dispatching():
            original(item)

    return run


@contextlib.contextmanager
def mock_cuda() -> Iterator[Log]:
    """Pretend that there is a CUDA device; not on a machine that has one."""
    global _log
    _log = Log()
    # Inference tensors know no versions, which views of subclasses need.
    replaced: dict[tuple[Any, str], Any] = {
        (torch._C, "_InferenceMode"): lambda on: (
            torch.no_grad() if on else contextlib.nullcontext()
        ),
        (torch.cuda, "is_available"): lambda: True,
        (torch.cuda, "_lazy_init"): lambda: None,
        (torch.cuda, "is_bf16_supported"): lambda *_, **__: True,
        (torch.cuda, "synchronize"): lambda *_, **__: None,
        (F, "scaled_dot_product_attention"): _attention(F.scaled_dot_product_attention),
        (Recorded, "__call__"): _graph(Recorded.__call__),
        (thread._WorkItem, "run"): _in_thread(thread._WorkItem.run),
    }
    saved = {(owner, name): getattr(owner, name) for owner, name in replaced}
    _register_guard()
    lifted = torch._C._only_lift_cpu_tensors()
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    for (owner, name), value in replaced.items():
        setattr(owner, name, value)
    torch._C._set_only_lift_cpu_tensors(True)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _stages_named(), _Naming(), _Dispatching():
            yield _log
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)
        for (owner, name), value in saved.items():
            setattr(owner, name, value)

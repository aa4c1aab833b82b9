"""A network is converted once in a process, and another one is never taken for it."""

from __future__ import annotations

import copy
import ctypes
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("openvino", reason="what is converted is converted for OpenVINO")

from deviloc_ros.models.runtime import OpenVinoProgram, converted, openvino_core


class Affine(nn.Module):
    """A module with everything that may tell two of them apart."""

    offset: Tensor

    def __init__(self, slope: float = 2.0, shift: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.register_buffer("offset", torch.zeros(3))
        self.slope = slope
        self.settings = {"shift": shift}
        self.plain = torch.ones(3)
        self.inner: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        scaled = self.inner(x * self.weight * self.slope * self.plain)
        result: Tensor = scaled + self.offset + self.settings["shift"]
        return result


EXAMPLE = torch.zeros(2, 3)


def test_equal_modules_are_converted_once() -> None:
    first = converted(Affine(), [EXAMPLE])
    assert converted(Affine(), [EXAMPLE]) is first
    assert converted(copy.deepcopy(Affine()), [EXAMPLE.clone()]) is first
    assert converted(Affine(), [torch.zeros(1, 2, 3)]) is not first


def test_only_the_converters_own_use_of_torch_jit_is_not_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def warn(*_: object, **__: object) -> object:
        warnings.warn("`torch.jit.trace` is deprecated, use `torch.export`", FutureWarning, 2)
        warnings.warn("`torch.jit.trace` is deprecated", DeprecationWarning, 2)
        warnings.warn("something else is", FutureWarning, 2)
        return object()

    monkeypatch.setattr("openvino.convert_model", warn)
    with pytest.warns(FutureWarning) as told:
        converted(Affine(slope=77.0), [EXAMPLE])
    assert [str(item.message) for item in told] == ["something else is"]


def other_weight(module: Affine) -> None:
    module.weight.data[1] = 5.0


def other_buffer(module: Affine) -> None:
    module.offset[0] = 1.0


def other_number(module: Affine) -> None:
    module.slope = 7.0


def other_setting(module: Affine) -> None:
    module.settings["shift"] = -1.0


def other_plain_tensor(module: Affine) -> None:
    module.plain[2] = 0.5


def other_part(module: Affine) -> None:
    module.inner = nn.ReLU()


@pytest.mark.parametrize(
    "change",
    [other_weight, other_buffer, other_number, other_setting, other_plain_tensor, other_part],
)
def test_whatever_differs_is_another_module(change: Callable[[Affine], None]) -> None:
    inputs = torch.tensor([[1.0, -2.0, 3.0]])
    changed = Affine().eval()
    with torch.no_grad():
        change(changed)
        expected = changed(inputs)
        assert not torch.allclose(expected, Affine()(inputs))
        OpenVinoProgram(Affine().eval(), EXAMPLE, precision="f32")(inputs)
        (result,) = OpenVinoProgram(changed, EXAMPLE, precision="f32")(inputs)
    torch.testing.assert_close(result, expected)


class Mixed(nn.Module):
    """Looks at all rows at once, as attention does."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x @ x.transpose(1, 2), dim=-1) @ x


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that gets an entry for each compilation."""
    compiled: list[object] = []
    core = openvino_core()

    class CountingCore:
        def compile_model(self, *arguments: object) -> object:
            compiled.append(arguments)
            return core.compile_model(*arguments)

    monkeypatch.setattr("deviloc_ros.models.runtime.openvino_core", CountingCore)
    return compiled


def test_equal_modules_are_compiled_once_for_a_shape(compilations: list[object]) -> None:
    first, second = (OpenVinoProgram(Affine(3.0).eval(), EXAMPLE, precision="f32") for _ in "ab")
    x = torch.tensor([[1.0, -2.0, 3.0], [0.0, 5.0, 1.0]])
    before = first.lend(x)[0]
    torch.testing.assert_close(second(2 * x)[0], Affine(3.0)(2 * x))
    assert len(compilations) == 1
    # Each has work memory of its own.
    torch.testing.assert_close(before, Affine(3.0)(x))
    second(x[:1])
    assert len(compilations) == 2
    OpenVinoProgram(Affine(4.0).eval(), EXAMPLE, precision="f32")(x)
    assert len(compilations) == 3


def test_any_length_is_compiled_once(compilations: list[object]) -> None:
    example = torch.zeros(1, 2, 3)
    program = OpenVinoProgram(Mixed().eval(), example, precision="f32", any_length=True)
    generator = torch.Generator().manual_seed(0)
    for length in (5, 3, 8, 5):
        x = torch.randn(1, length, 3, generator=generator)
        torch.testing.assert_close(program(x)[0], Mixed()(x))
    assert len(compilations) == 1


class SignalStack(ctypes.Structure):
    """stack_t of sigaltstack(2) on Linux."""

    _fields_: ClassVar = [
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    ]


def signal_stack_is_there() -> bool:
    """Whether this thread has no alternate signal stack, or one in memory that is mapped."""
    stack = SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    if not stack.address:
        return True
    ranges = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
    ]
    return any(first <= stack.address < last for first, last in ranges)


def test_a_program_that_ends_in_another_thread_leaves_the_signal_stack() -> None:
    """Else the next signal that this thread takes is a segmentation fault."""
    programs = [OpenVinoProgram(Affine().eval(), EXAMPLE, precision="f32")]
    programs[0](EXAMPLE)
    thread = threading.Thread(target=programs.clear)
    thread.start()
    thread.join()
    assert not programs
    assert signal_stack_is_there()

"""Converted networks outlast the process, and nothing but the same network is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("openvino", reason="what is kept is in OpenVINO's format")

from deviloc_ros.models import kept_networks, runtime
from deviloc_ros.models.kept_networks import network_key, networks_directory
from deviloc_ros.models.runtime import OpenVinoProgram
from deviloc_ros.models.xfeat import FineMatcher

EXAMPLE = torch.zeros(2, 128)
INPUT = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return FineMatcher().eval()


def expected(seed: int = 0) -> Tensor:
    with torch.inference_mode():
        offset: Tensor = network(seed)(INPUT)[0]
    return offset


@pytest.fixture(autouse=True)
def conversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Keep networks in a folder of the test's; return a list that gets those converted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[nn.Module] = []
    convert = runtime._convert

    def counting(module: nn.Module, examples: list[Tensor]) -> object:
        made.append(module)
        return convert(module, examples)

    monkeypatch.setattr(runtime, "_convert", counting)
    runtime._converted.clear()
    return made


def start_anew(module: nn.Module) -> Tensor:
    """Return what a network gives in a process that has not seen it."""
    runtime._converted.clear()
    return OpenVinoProgram(module, EXAMPLE, precision="f32")(INPUT)[0]


def test_the_next_start_reads_what_this_one_converted(conversions: list[nn.Module]) -> None:
    first = start_anew(network())
    second = start_anew(network())
    assert len(conversions) == 1
    assert torch.equal(first, second)
    torch.testing.assert_close(second, expected())


def test_other_weights_and_other_programs_are_other_networks(
    conversions: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_anew(network())
    other = start_anew(network(1))
    torch.testing.assert_close(other, expected(1))
    assert len(conversions) == 2
    monkeypatch.setattr(kept_networks, "_version", lambda package: f"{package} 0")
    start_anew(network())
    assert len(conversions) == 3


@pytest.mark.parametrize("fault", ["cut", "changed", "empty"])
def test_a_damaged_file_is_made_anew(conversions: list[nn.Module], fault: str) -> None:
    before = start_anew(network())
    (path,) = networks_directory().iterdir()
    content = bytearray(path.read_bytes())
    if fault == "cut":
        content = content[: len(content) // 2]
    elif fault == "changed":
        content[-5] ^= 1
    else:
        content = bytearray()
    path.write_bytes(content)
    assert torch.equal(start_anew(network()), before)
    assert len(conversions) == 2
    assert torch.equal(start_anew(network()), before)
    assert len(conversions) == 2


def test_where_nothing_can_be_written_it_works_as_well(
    tmp_path: Path, conversions: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        torch.testing.assert_close(start_anew(network()), expected())
    assert len(conversions) == 2


class OfNoPackage(FineMatcher):
    """Its code has no version."""


def with_an_address() -> nn.Module:
    module = network()
    vars(module)["helper"] = object()
    return module


def test_what_cannot_be_named_for_good_is_not_kept(conversions: list[nn.Module]) -> None:
    of_others = nn.Sequential(nn.Linear(128, 2))
    for module in (OfNoPackage().eval(), with_an_address(), of_others.eval()):
        assert network_key(module, [EXAMPLE]).program is None
        start_anew(module)
    assert len(conversions) == 3
    assert not networks_directory().exists()


def test_the_oldest_files_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_networks, "KEPT_FILES", 3)
    for seed in range(5):
        start_anew(network(seed))
    assert len(list(networks_directory().iterdir())) == 3
    torch.testing.assert_close(start_anew(network(0)), expected(0))

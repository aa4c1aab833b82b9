"""Agreement with numbers recorded from the published code, every file and every array."""

from __future__ import annotations

import json
from pathlib import Path

import comparisons
import pytest

from deviloc_ros.models.published.deviloc import DeViLocNetwork

KNOWN_FILES = {
    "assign.npz",
    "e2e.npz",
    "e2e_topn.npz",
    "loss.npz",
    "matcher_diff.npz",
    "matcher_same.npz",
    "merge.npz",
    "misc.json",
    "pin.npz",
    "pnp.npz",
    "preprocess.npz",
    "sample.npz",
}


def test_parity_covers_every_file(parity_dir: Path) -> None:
    found = {path.name for path in parity_dir.iterdir() if path.suffix in (".npz", ".json")}
    assert found == KNOWN_FILES


@pytest.mark.parametrize("case", comparisons.MATCHER_CASES)
def test_parity_matcher(parity_dir: Path, network: DeViLocNetwork, case: str) -> None:
    comparisons.compare_matcher(parity_dir, case, network)


@pytest.mark.parametrize("case", comparisons.PIN_CASES)
def test_parity_pin(parity_dir: Path, network: DeViLocNetwork, case: str) -> None:
    comparisons.compare_pin(parity_dir, case, network)


def test_parity_sample(parity_dir: Path) -> None:
    comparisons.compare_sample(parity_dir)


def test_parity_preprocess(parity_dir: Path, tmp_path: Path) -> None:
    comparisons.compare_preprocess(parity_dir, tmp_path)


@pytest.mark.parametrize("exactly", [False, True])
def test_parity_assign(parity_dir: Path, exactly: bool) -> None:
    comparisons.compare_assign(parity_dir, exactly)


def test_parity_merge(parity_dir: Path) -> None:
    comparisons.compare_merge(parity_dir)


def test_parity_loss(parity_dir: Path) -> None:
    comparisons.compare_loss(parity_dir)


@pytest.mark.parametrize("references_per_batch", [1, 4])
def test_parity_e2e(parity_dir: Path, network: DeViLocNetwork, references_per_batch: int) -> None:
    comparisons.compare_e2e(parity_dir, network, references_per_batch)


def test_parity_e2e_topn(parity_dir: Path, network: DeViLocNetwork) -> None:
    comparisons.compare_e2e_topn(parity_dir, network)


def test_parity_pnp(parity_dir: Path) -> None:
    comparisons.compare_pnp(parity_dir)


def test_parity_misc(parity_dir: Path) -> None:
    comparisons.compare_misc(parity_dir)


def test_parity_key_tables(parity_dir: Path, network: DeViLocNetwork) -> None:
    for name, module in (("deviloc", network), ("topicfm", network.matcher)):
        path = parity_dir.parent / f"state_dict_{name}.json"
        if not path.is_file():
            pytest.skip(f"no key table {path}")
        table = json.loads(path.read_text())["keys"]
        ours = {
            key: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
            for key, value in module.state_dict().items()
        }
        assert ours == table

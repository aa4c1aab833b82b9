"""Fixtures of the parity tests: the folder of recorded arrays and a network with its weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deviloc_ros.models.published.deviloc import DeViLocNetwork
from deviloc_ros.models.published.rule_weights import rule_network

DEFAULT_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "spec" / "parity"


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """The folder DEVILOC_PARITY_DIR names, or the public set beside the checkout."""
    named = os.environ.get("DEVILOC_PARITY_DIR")
    folder = Path(named) if named else DEFAULT_FOLDER
    if not (folder / "misc.json").is_file():
        reason = f"no parity files in {folder}; name their folder in DEVILOC_PARITY_DIR"
        if named:
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def network(parity_dir: Path) -> DeViLocNetwork:
    """The network with the weights the arrays were recorded with."""
    return rule_network(json.loads((parity_dir / "misc.json").read_text())["salt"])

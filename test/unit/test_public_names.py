"""What `from deviloc_ros import ...` offers, and that it costs nothing until it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import deviloc_ros


@pytest.mark.parametrize("name", deviloc_ros.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(deviloc_ros, name).__module__.startswith("deviloc_ros.")
    assert name in dir(deviloc_ros)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(deviloc_ros.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.name for node in block.body for alias in node.names]  # type: ignore[attr-defined]
    assert sorted(seen) == sorted(deviloc_ros.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Localiser'"):
        deviloc_ros.Localiser  # noqa: B018


def test_importing_the_package_loads_no_networks() -> None:
    code = "import sys, deviloc_ros; print(sorted({'torch', 'numpy', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

"""docs/architecture.md shows the arrows that there are, and names files that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "deviloc_ros"
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
EVERYWHERE = {"errors", "atomic"}


def arrows() -> dict[str, set[str]]:
    """Return which parts of the package each of its parts imports."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.module if isinstance(node, ast.ImportFrom) else None
            if name and name.startswith("deviloc_ros."):
                found.setdefault(part, set()).add(name.split(".")[1])
    return {part: names - {part} - EVERYWHERE for part, names in found.items()}


def documented() -> dict[str, set[str]]:
    """Return the same by the document's table."""
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \| .*? \| ([^|]*) \|$", DOCUMENT, re.MULTILINE)
    return {part: set(re.findall(r"`(\w+)`", names)) for part, names in rows}


def test_the_table_shows_the_arrows_of_the_code() -> None:
    code = {part: names for part, names in arrows().items() if part not in EVERYWHERE}
    assert documented() == code


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", DOCUMENT))
    assert len(named) > 15
    for name in named:
        beneath = [ROOT / name, PACKAGE / name, PACKAGE / "localization" / name]
        beneath += [PACKAGE / "mapping" / name, PACKAGE / "ros" / name]
        assert any(path.is_file() for path in beneath), name

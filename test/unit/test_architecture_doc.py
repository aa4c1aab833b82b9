"""docs/architecture.md shows the arrows that there are, and names files that exist."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "deviloc_ros"
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
EVERYWHERE = {"errors", "atomic", "lock"}
Arrows = dict[str, set[str]]


@functools.cache
def arrows() -> Arrows:
    """Return which parts of the package each of its parts imports."""
    found: Arrows = {}
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.module if isinstance(node, ast.ImportFrom) else None
            if name and name.startswith("deviloc_ros."):
                found.setdefault(part, set()).add(name.split(".")[1])
    return {
        part: names - {part} - EVERYWHERE
        for part, names in found.items()
        if part not in EVERYWHERE | {"__init__"}
    }


def between_rooms() -> Arrows:
    """Return the arrows between the folders of the package."""
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return {room: arrows().get(room, set()) & rooms for room in rooms}


def without_detours(graph: Arrows) -> Arrows:
    """Return the arrows that no longer path replaces (the transitive reduction)."""
    reachable: Arrows = {}
    # What is known comes before who knows it; a circle raises CycleError.
    for room in graphlib.TopologicalSorter(graph).static_order():
        reachable[room] = graph[room].union(*(reachable[name] for name in graph[room]))
    kept = {
        room: names - set().union(*(reachable[name] for name in names))
        for room, names in graph.items()
    }
    return {room: names for room, names in kept.items() if names}


def documented() -> Arrows:
    """Return the arrows of the document's table."""
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \| .*? \| ([^|]*) \|$", DOCUMENT, re.MULTILINE)
    return {part: set(re.findall(r"`(\w+)`", names)) for part, names in rows}


def picture() -> str:
    """Return the picture of the rooms."""
    (text,) = re.findall(r"^```mermaid\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    return str(text)


def test_the_table_shows_the_arrows_of_the_code() -> None:
    names_nothing = {part: names for part, names in documented().items() if not names}
    assert documented() == {**names_nothing, **arrows()}
    assert set(names_nothing) <= {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}


def test_the_picture_shows_the_arrows_of_the_code() -> None:
    drawn: Arrows = {}
    for room, names in re.findall(r"^ +(\w+) --> (.+)$", picture(), re.MULTILINE):
        assert room not in drawn
        drawn[room] = set(names.split(" & "))
    assert drawn == without_detours(between_rooms())


def test_the_picture_names_every_room() -> None:
    named = re.findall(r'^ +(\w+)\["', picture(), re.MULTILINE)
    assert sorted(named) == sorted(between_rooms())


def test_a_detour_replaces_an_arrow() -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert without_detours(graph) == {"a": {"b"}, "b": {"c"}}


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", DOCUMENT))
    assert len(named) > 15
    folders = (PACKAGE, ROOT / "benchmarks", ROOT / "test", ROOT / "tools")
    files = {path.relative_to(ROOT).as_posix() for top in folders for path in top.rglob("*.py")}
    for name in named:
        assert any(file == name or file.endswith(f"/{name}") for file in files), name

"""Relative links of the documents lead to files and headings that exist; no mkdocs is needed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "examples/README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
SITE = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """Return a document without its code blocks, in which # is not a heading."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?) *$", prose(path), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


def problems(document: Path) -> list[str]:
    """Return the relative links of a document that lead nowhere."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.is_file():
            found.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(file):
            found.append(f"{target}: no such heading")
        elif not file.is_relative_to(ROOT):
            found.append(f"{target}: outside of the repository")
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(document: Path) -> None:
    assert problems(document) == []


def test_wrong_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` -> c\n[x](none.md) [y](#d) [z](#a-b---c)\n```sh\n# d\n```\n")
    assert problems(page) == ["none.md: no such file", "#d: no such heading",
                              "#a-b---c: outside of the repository"]  # fmt: skip


def test_the_site_lists_every_document() -> None:
    listed = re.findall(r"^ +- (?:\"[^\"]+\"|[^:\n]+): (\S+\.md)$", SITE, re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(ROOT).as_posix() for path in DOCUMENTS)


def test_what_the_site_is_made_with_is_pinned() -> None:
    wanted = (ROOT / "requirements-docs.txt").read_text(encoding="utf-8")
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    names = re.findall(r"^([\w-]+)", wanted, re.MULTILINE)
    assert "mkdocs" in names
    assert all(re.search(rf"^{name}==", pinned, re.MULTILINE) for name in names)


def test_names_of_the_api_reference_exist() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    assert "deviloc_ros.Localizer" in names
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name

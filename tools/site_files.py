"""Hook of mkdocs.yml: the site has the paths of the repository, so the same links work in both.

Pages are README.md, examples/README.md, CONTRIBUTING.md, SECURITY.md, CHANGELOG.md and docs/. Other
files of the repository that a page links to, such as a parameter file, are copied into the site
beside them.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = ("README.md", "examples/README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
LINK = re.compile(r"\]\(([^)\s#]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the files of docs/ by those of the repository."""
    root = Path(config.config_file_path).resolve().parent
    docs = root / "docs"
    for file in list(files):
        if file.abs_src_path is not None and Path(file.abs_src_path).is_relative_to(docs):
            files.remove(file)
    pages = [root / name for name in PAGES] + sorted(docs.rglob("*.md"))
    for path in dict.fromkeys([*pages, *sorted(_linked(pages, root))]):
        name = path.relative_to(root).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def _linked(pages: list[Path], root: Path) -> set[Path]:
    """Return the files of the repository that pages link to."""
    found = set()
    for page in pages:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if "://" not in target:
                path = (page.parent / target).resolve()
                if path.is_file() and path.is_relative_to(root):
                    found.add(path)
    return found

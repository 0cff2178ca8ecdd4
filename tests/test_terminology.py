"""Retired terms (docs/glossary.md) appear nowhere in code, messages and user docs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("schemas", "annotations", "curate", "pipelines", "cli", "benchmarks", "docs")
SUFFIXES = {".py", ".js", ".html", ".css", ".md", ".toml"}
DEVELOPER_DOCS = ("docs/glossary.md", "docs/developer")
"""The glossary lists the retired terms; the log and the design quote history."""

# Words that have no ordinary use in this field. Retired words that ordinary English also needs (look, pull, chance,
# spread, settle, rest) cannot be searched for; review catches them.
RETIRED = (
    r"heaps?",
    r"fore(told|tells?|telling|sight)",
    r"mended|mends",
    r"lessons?",
    r"verdicts?",
    r"restat(e|es|ed|ing)",
    r"desks?",
    r"guests?",
    r"told (by|apart)|tells? apart",
    r"(set|sets|setting) aside",
    r"blind (to|by)",
    r"what has other names|waiting room|by the alphabet|it watches|rid of|anew",
    r"came? of",
    r"stands? beside|lies? beside",
    r"at rest|came to rest|come to rest",
    r"told_apart|contradicted|unproved|left_out|set_aside",
)
PATTERN = re.compile(r"(?<![A-Za-z])(" + "|".join(RETIRED) + r")(?![A-Za-z])", re.IGNORECASE)
ALLOWED = re.compile(r"renamed|deprecated|formerly|retired|preference\W+verdict\W+vote", re.IGNORECASE)
"""A line that declares an old name is where the old name must stand; "verdict" is also a column name of vote files."""


def retired_terms(text: str) -> Iterator[tuple[int, str]]:
    """Line number and retired term of each occurrence in a text."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not ALLOWED.search(line):
            for match in PATTERN.finditer(line):
                yield number, match.group(0)


def checked_text(path: Path) -> str:
    """The text of a file; of the changelog without the lists of renamed fields, which must name the old ones."""
    text = path.read_text(encoding="utf-8")
    if path.name != "CHANGELOG.md":
        return text
    return re.sub(r"^### Renamed$.*?^## ", lambda match: "\n" * match.group(0).count("\n"), text, flags=re.M | re.S)


def files(folder: Path) -> Iterator[Path]:
    """The checked files of a folder (or the file itself)."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        name = path.relative_to(ROOT).as_posix()
        if path.suffix in SUFFIXES and not name.startswith(DEVELOPER_DOCS):
            yield path


def occurrences(folder: Path) -> list[str]:
    """ "path:line: term" of each retired term below a folder."""
    return [
        f"{path.relative_to(ROOT)}:{line}: {term}"
        for path in files(folder)
        for line, term in retired_terms(checked_text(path))
    ]


@pytest.mark.parametrize("folder", [*FOLDERS, "README.md", "CHANGELOG.md"])
def test_no_retired_terms(folder: str) -> None:
    assert occurrences(ROOT / folder) == []


def test_a_planted_term_is_found() -> None:
    planted = "x = 1\n# responses fall into two heaps\nMENDED = told_apart\n"
    assert list(retired_terms(planted)) == [(2, "heaps"), (3, "MENDED"), (3, "told_apart")]


def test_a_renaming_may_name_the_old_term() -> None:
    assert not list(retired_terms('    renamed = {"mended": "recovered"}\n'))


if __name__ == "__main__":
    for folder in sys.argv[1:] or FOLDERS:
        for line in occurrences(ROOT / folder):
            print(line)  # noqa: T201

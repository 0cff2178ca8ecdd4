"""The texts of the pages: JSON files per language, and the choice of the language."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "texts"
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
Texts = dict[str, str | dict[str, str]]
"""Key -> text, or its plural forms by the categories of CLDR (one, few, other, …)."""


@cache
def languages(folder: Path = FOLDER) -> dict[str, Texts]:
    """The texts of the voting page by language, from texts/*.json."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def plain_texts(language: str) -> Texts:
    """The texts of the pages without a script, from texts/plain/*.json, which use some of the voting page, too."""
    return languages()[language] | languages(FOLDER / "plain")[language]


def direction(language: str) -> str:
    """The value of the attribute dir."""
    return "rtl" if language in RIGHT_TO_LEFT else "ltr"


def choose_language(wanted: str, accepted: str) -> str:
    """The language of the page: the wanted one, else the best of an Accept-Language header, else English.

    >>> choose_language("", "fr-FR, de-CH;q=0.8, en;q=0.5"), choose_language("ar", "de"), choose_language("", "*")
    ('de', 'ar', 'en')
    """
    if wanted:
        return wanted
    weights: dict[str, float] = {}
    for part in accepted[:1_000].lower().split(","):
        tag, _, parameter = part.partition(";")
        weight = parameter.strip().removeprefix("q=")
        name = tag.strip().partition("-")[0]
        value = float(weight) if weight.replace(".", "", 1).isdecimal() else 1.0
        weights[name] = max(weights.get(name, 0.0), value)
    known = [name for name in weights if name in languages() and weights[name] > 0]
    return max(known, key=weights.__getitem__, default="en")


def page_parts(language: str) -> dict[str, str]:
    """The parts of annotator.html in a language, as HTML: {{lang}}, {{dir}}, {{texts}} (JSON), and {{t.KEY}} each."""
    texts = languages()[language]
    data = json.dumps(texts, ensure_ascii=False).replace("<", "\\u003c")
    parts = {f"t.{key}": escape(text) for key, text in texts.items() if isinstance(text, str)}
    return parts | {"lang": language, "dir": direction(language), "texts": data}

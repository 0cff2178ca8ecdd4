"""Texts survive byte for byte from every export of every platform to the store.

Normalised on purpose: ids are trimmed, and an id with a line break or of more than 200 characters is replaced by its
digest; a text of blanks alone is absent. Texts of questions and responses are not changed at all.
"""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations.platforms.registry import PLATFORMS, detect_platform
from annotations.readers.columns import detect_layout, detect_platform_layout
from annotations.readers.files import find_files
from annotations.readers.formats import read_chunks
from annotations.readers.rules import apply_rules
from curate.store import Store
from pipelines import ingest
from schemas.config import IngestConfig
from schemas.mapping import Mapping
from tests import platform_files as files
from tests.exports import EXPORTS, Vote, write_export
from tests.test_json_text import texts

NOW = datetime(2100, 1, 1)
ODD = [
    *("\\frac{1}{2}", "literal \\n, not a break", 'one " quote', '\\"', "\\u0041", "😀\ud7ff\ue000", "a\u2028b\u2029c"),
    *("é and e\u0301", " blank ", "\n\tlines\r\n", "\x01\x1b[31m\x7f", "[1, ", '{"a": "b"}', "null", "\u202e", "1e5"),
]
"""Texts that readers have damaged, or could."""


def votes_of(strings: list[str]) -> list[Vote]:
    """A vote for each text, which is in its ids, too; an id has no line breaks."""
    ids = ["".join(text.split("\n")) for text in strings]
    named = [(f"p{i} {text}x", f"l{text}x", f"r{text}x") for i, text in enumerate(ids)]
    return [
        Vote(i, *named[i], *(strings[(i + shift) % len(strings)] for shift in range(3))) for i in range(len(strings))
    ]


def blank_is_none(text: str) -> str | None:
    return text if pl.Series([text]).str.strip_chars().item() else None


def stated(votes: list[Vote], keeps: list[str]) -> list[dict[str, str | None]]:
    return [{name: blank_is_none(getattr(vote, name)) for name in keeps} for vote in votes]


def read(path: Path, keeps: list[str]) -> list[dict[str, str | None]]:
    """The fields of the clean rows of a file; of a ranking, those of its first pair."""
    [file] = find_files([path])
    platform = detect_platform(file)
    assert platform is None or path.name.startswith(platform.name)
    [chunk] = (c for c in (platform.read(file, NOW) if platform else read_chunks(file)) if c.frame.height)
    layout = (detect_platform_layout if platform else detect_layout)(path.name, chunk.frame, Mapping())
    clean = apply_rules(chunk, layout, NOW)
    assert clean.rejects.is_empty(), clean.rejects
    rows = clean.rows
    if clean.pairs.height:
        pairs = clean.pairs.unique("line", keep="first")
        rows = rows.drop("response_left", "response_right").join(pairs, on="line")
    ours = {"left": "response_left", "right": "response_right"}
    return rows.sort("line").select(pl.col(ours.get(name, name)).alias(name) for name in keeps).to_dicts()


@pytest.mark.parametrize("what", EXPORTS)
@settings(max_examples=10)
@given(strings=st.lists(texts, min_size=1, max_size=8), escaped=st.booleans())
def test_every_text_survives_in_every_export(what: str, strings: list[str], escaped: bool) -> None:
    if EXPORTS[what].suffix in ("csv", "tsv"):  # a file of text holds no zero bytes
        strings = [text.replace("\0", "") for text in strings]
    votes, keeps = votes_of(strings), list(EXPORTS[what].keeps)
    with tempfile.TemporaryDirectory() as folder:
        path = write_export(Path(folder), what, EXPORTS[what], votes, escaped=escaped)
        assert read(path, keeps) == stated(votes, keeps)


def test_every_platform_with_votes_has_an_export() -> None:
    assert {what.partition(" ")[0] for what in EXPORTS} == {p.name for p in PLATFORMS if p.name != "prolific"} | {
        "generic"
    }


def test_what_prolific_knows_of_participants_survives(tmp_path: Path) -> None:
    rows = [
        {"Submission id": "s", "Participant id": f"p{i}", "Status": "APPROVED", "Home": text}
        for i, text in enumerate(ODD)
    ]
    [file] = find_files([files.write(tmp_path, "prolific.csv", files.table(rows))])
    platform = detect_platform(file)
    assert platform is not None
    assert platform.read_participants is not None
    facts = platform.read_participants(file).facts
    found = [json.loads(facts[f"p{i}"])["Home"] for i in range(len(ODD))]
    assert [text if isinstance(text, str) else json.dumps(text) for text in found] == ODD


def test_odd_texts_survive_in_the_store(tmp_path: Path) -> None:
    kept = {what: export for what, export in EXPORTS.items() if "question" in export.keeps}
    paths, expected = [], {}
    for place, (what, export) in enumerate(kept.items()):
        votes = [
            vote._replace(prompt_id=f"{what} {vote.prompt_id}", number=100 * place + vote.number)
            for vote in votes_of(ODD)
        ]
        paths.append(write_export(tmp_path, what, export, votes))
        expected |= {vote.prompt_id: vote.question for vote in votes}
        if "text_left" in export.keeps:
            expected |= {(vote.prompt_id, vote.left): vote.text_left for vote in votes}
    ingest(paths, tmp_path / "s.duckdb", config=IngestConfig(repeats="all"))
    with Store.open(tmp_path / "s.duckdb") as store:
        found = dict(store.prompts().select("prompt_id", "question").rows())
        found |= {(p, r): text for p, r, text in store.responses().select("prompt_id", "response_id", "text").rows()}
    assert {key: found.get(key) for key in expected} == expected

"""What a platform is: how its export is recognised, and how it is read as rows in our own columns.

A reader yields chunks (annotations.readers.chunks.Chunk) whose frames hold, as text, the fields of
schemas.votes.VOTE_FIELDS
under their own names (prompt_id, left and right or response_a and response_b, outcome, annotator_id, vote_id, voted_at,
seconds, question, video, text_a, text_b, model_a, model_b, responses, rankings), and beside them:

* ``model_left``, ``model_right``: the models of left and right;
* ``control``: the known outcome (left, right, tie or both_bad) of a control question; such a row is no vote;
* ``reject``, ``reject_text``: a code of REJECT_REASONS and its words, for a row that is no judgment (cancelled, empty);
* whatever else the export says: it goes to the vote's ``meta``.

Columns that the platform passes through as they were given to it (its "data") keep their names, so that well-known
names and ``--map`` work on them as on any file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from annotations.platforms.sniffing import Head
from annotations.readers.chunks import Broken, Chunk, read_chunks
from annotations.readers.files import VoteFile
from annotations.readers.participants import Participants

Record = dict[str, Any]
"""One record of an export; lists and objects are JSON text (see ``nested``)."""
Row = Mapping[str, Any]
"""One judgment: column -> value of any kind; None is absent."""
SKIPPED = "skipped"
"""The one key of a row that is nothing to judge at all (a chat, a task nobody took): its value is counted."""
Reader = Callable[[VoteFile], Iterator[Chunk]]


@dataclass(frozen=True)
class Platform:
    """One platform. The words are what ``curate ingest --formats`` and docs/platforms.md say of it."""

    name: str
    """As ``--format`` takes it."""
    about: str
    """One line: which of its files."""
    told_by: str
    """How it is recognised."""
    sides: str
    """Whether its votes say what was shown left, in words."""
    dropped: str
    """What of the export is not kept."""
    recognises: Callable[[Head], bool]
    read: Reader
    read_at: Callable[[VoteFile, datetime], Iterator[Chunk]] | None = None
    """In place of ``read``, where it depends on the time (naive UTC) what is read."""
    joins: Callable[[VoteFile], Participants] | None = None
    """Reads what it says of people, where it holds no votes."""
    people: bool = True
    """Whether its annotator ids name people on a platform: then only keyed pseudonyms are stored."""


def by_record(rows_of: Callable[[Record], Iterable[Row]]) -> Reader:
    """A reader that turns each record into its judgment, or none: a row's line is its record's."""

    def read(file: VoteFile) -> Iterator[Chunk]:
        for lines, records, broken in records_of(file):
            rows: list[Row] = []
            own: list[int] = []
            skipped: Counter[str] = Counter()
            for line, record in zip(lines, records, strict=True):
                for row in rows_of(record):
                    if SKIPPED in row:
                        skipped[row[SKIPPED]] += 1
                    else:
                        rows.append(row)
                        own.append(line)
            yield replace(chunk_of(rows, own, broken), skipped=dict(skipped))

    return read


def records_of(file: VoteFile) -> Iterator[tuple[list[int], list[Record], tuple[Broken, ...]]]:
    """(lines, records, unreadable ones) of a file, block by block."""
    for chunk in read_chunks(file):
        yield chunk.line.to_list(), chunk.frame.to_dicts(), chunk.broken


def renumbered(broken: Sequence[Broken], after: int) -> tuple[Broken, ...]:
    """Unreadable records with numbers of their own, where rows are numbered; their messages name their lines."""
    return tuple(
        record._replace(line=after + i, message=f"record {record.line}: {record.message}")
        for i, record in enumerate(broken, start=1)
    )


def chunk_of(rows: Sequence[Row], lines: Sequence[int], broken: tuple[Broken, ...] = ()) -> Chunk:
    """Rows as a chunk: the union of their keys as columns of text."""
    names = dict.fromkeys(name for row in rows for name in row)
    frame = pl.DataFrame(
        {name: [as_text(row.get(name)) for row in rows] for name in names}, schema=dict.fromkeys(names, pl.String)
    )
    return Chunk(frame, pl.Series("line", lines, pl.Int64), broken)


def as_text(value: Any) -> str | None:
    """A value as a column of text holds it: lists and objects as JSON, None and the empty text as None."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def nested(value: Any) -> Any:
    """The list or object that a text of JSON holds; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def mapping(value: Any) -> dict[str, Any]:
    """The object that a value is or its JSON text holds; empty where it is none."""
    found = nested(value)
    return found if isinstance(found, dict) else {}


def listing(value: Any) -> list[Any]:
    """The list that a value is or its JSON text holds; empty where it is none."""
    found = nested(value)
    return found if isinstance(found, list) else []


def reject(reason: str, words: str) -> dict[str, str]:
    """The columns of a row that is no judgment. ``reason``: a code of REJECT_REASONS."""
    return {"reject": reason, "reject_text": words}

"""What a platform is: how its export is recognized, and how it is read as rows in our columns.

To add a platform, write one module in this package that defines ``PLATFORM``; the registry finds it. An installed
package declares its ``Platform`` as an entry point of the group ``curate.platforms``. annotations.platforms.contract
checks both.

A platform yields chunks (annotations.readers.formats.Chunk) whose frames hold, as text, the fields of
schemas.votes.VOTE_FIELDS under their own names (prompt_id, left and right or response_a and response_b, outcome,
annotator_id, vote_id, voted_at, seconds, question, video, text_a, text_b, model_a, model_b, responses, rankings), and:

* ``model_left``, ``model_right``: the models of left and right;
* ``control``: the known outcome (left, right, tie or both_bad) of a control question; such a row is not a vote;
* ``reject``, ``reject_text``: a code of REJECT_REASONS and a message, for a row that is no judgment (cancelled, empty);
* any other column of the export: it goes into the vote's ``meta``.

Columns of the task's own data keep their names, so that well-known names and ``--map`` work on them as in any table.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from annotations.readers.files import BOM, DamagedFile, Format, VoteFile
from annotations.readers.formats import BrokenRecord, Chunk, arrow_batches, delimiter_of, read_chunks
from annotations.readers.json_text import encode_columns

Row = Mapping[str, Any]
"""One judgment: column -> value of any kind; None is absent."""
SKIPPED = "skipped"
"""The only key of a row for a record that is not a judgment (a chat, an unassigned task); its value is the kind."""
PARTICIPANT = "prolific.export"
"""The column that holds the participant's data; it goes into the vote's meta."""
SNIFFED_LINES = 50
"""Lines of a JSONL file that are used to recognize the platform."""


@dataclass(frozen=True)
class Head:
    """The start of a file, which decides the platform."""

    format: Format
    columns: frozenset[str]
    """Of the header, or the keys of the first records; empty if none can be read."""
    records: tuple[dict[str, Any], ...]
    """The first records of JSON and JSONL, decoded."""

    def has(self, *columns: str) -> bool:
        """Return whether all of these columns are present."""
        return self.columns.issuperset(columns)

    def has_prefixes(self, *prefixes: str) -> bool:
        """Return whether each of these prefixes starts some column."""
        return all(any(column.startswith(prefix) for column in self.columns) for prefix in prefixes)


@dataclass(frozen=True)
class Participants:
    """Participants of a panel, from one or more exports, which are joined to their votes by id."""

    path: str
    facts: Mapping[str, str]
    """Participant id -> their data as JSON text."""
    refused: Mapping[str, str]
    """Participant id -> why their work does not count."""
    found: set[str] = field(default_factory=set)
    """Participants with a vote, so far."""
    strangers: set[str] = field(default_factory=set)
    """Annotators who are not participants, so far."""

    def join(self, chunk: Chunk, annotator: str | None, *, keep_rejects: bool) -> Chunk:
        """Return the chunk with the participant's data in column PARTICIPANT; rows of refused work get a reject reason.

        annotator: the column of annotator ids. keep_rejects: existing columns "reject" are from a platform reader and
        take precedence; in a plain table they may mean anything and are replaced.
        """
        frame = chunk.frame
        if annotator not in frame.columns:
            return chunk
        people = frame[annotator].str.strip_chars()
        seen = set(people.drop_nulls().unique())
        self.found.update(seen & self.facts.keys())
        self.strangers.update(seen - self.facts.keys())
        facts = people.replace_strict(dict(self.facts), default=None, return_dtype=pl.String).alias(PARTICIPANT)
        why = people.replace_strict(dict(self.refused), default=None, return_dtype=pl.String)
        reason = pl.select(pl.when(why.is_not_null()).then(pl.lit("refused-work"))).to_series()
        for name, added in (("reject", reason.alias("reject")), ("reject_text", why.alias("reject_text"))):
            keep = keep_rejects and name in frame.columns
            frame = frame.with_columns(frame[name].fill_null(added) if keep else added)
        return replace(chunk, frame=frame.with_columns(facts))


def merge_participants(exports: Sequence[Participants]) -> Participants | None:
    """Return the participants of several exports as one; None if there are no exports."""
    if not exports:
        return None
    facts = {person: text for each in exports for person, text in each.facts.items()}
    refused = {person: why for each in exports for person, why in each.refused.items()}
    return Participants(", ".join(each.path for each in exports), facts, refused)


Reader = Callable[[VoteFile, datetime], Iterator[Chunk]]
"""(file, now in naive UTC) -> the rows of a file, chunk by chunk."""


@dataclass(frozen=True)
class Platform:
    """One platform. The texts appear in ``curate ingest --formats`` and docs/platforms.md."""

    name: str
    """The value of ``--format``."""
    description: str
    """Which of its files are read, in one line."""
    detected_by: str
    """What its files are recognized by."""
    sides: str
    """Whether its votes state what was shown left."""
    dropped: str
    """Parts of the export that are not kept."""
    recognizes: Callable[[Head], bool]
    read: Reader
    read_participants: Callable[[VoteFile], Participants] | None = None
    """Reads an export that holds participants and no votes."""
    personal_ids: bool = True
    """Its annotator ids identify people on a platform, so that only keyed pseudonyms are stored."""


def by_columns(
    rows_of: Callable[[pl.DataFrame], pl.DataFrame],
    *,
    several: bool = False,
    whole: bool = False,
    optional: Collection[str] = (),
) -> Reader:
    """Return a reader that turns the columns of each chunk into columns of rows.

    ``rows_of`` gets the frame of a chunk (every column a String, lists and objects as JSON text) and returns columns of
    text or lists of text, one row per record in order. A row with a kind in a column SKIPPED is counted as a record
    that is no judgment.
    several: a record may give any number of rows; then rows are numbered 1, 2, … instead of having their record's line.
    whole: the file is one chunk, for what depends on all of its records.
    optional: columns that the rows of a CSV file may omit where its header ends with them.
    """

    def read(file: VoteFile, _: datetime) -> Iterator[Chunk]:
        total = 0
        for records in [read_whole(file, optional=optional)] if whole else read_chunks(file, optional=optional):
            rows = encode_columns(rows_of(records.frame)) if records.frame.height else pl.DataFrame()
            line, broken, skipped = records.line, records.broken, {}
            if SKIPPED in rows.columns:
                kind = rows[SKIPPED]
                skipped = dict(kind.drop_nulls().value_counts(sort=True).iter_rows())
                rows = rows.filter(kind.is_null()).drop(SKIPPED)
                line = line if several else line.filter(kind.is_null())
            if several:
                first, total = total + 1, total + rows.height + len(broken)
                line = pl.int_range(first, first + rows.height, eager=True).alias("line")
                broken = renumbered(broken, first + rows.height)
            # Without rows there is nothing from which the layout could be detected.
            yield Chunk(without_empty(rows) if rows.height else pl.DataFrame(), line, broken, skipped)

    return read


def read_whole(file: VoteFile, *, optional: Collection[str] = ()) -> Chunk:
    """Return all rows of a file as one chunk."""
    chunks = list(read_chunks(file, optional=optional))
    return Chunk(
        pl.concat([chunk.frame for chunk in chunks], how="diagonal") if chunks else pl.DataFrame(),
        pl.concat([chunk.line for chunk in chunks]) if chunks else pl.Series("line", [], pl.Int64),
        tuple(broken for chunk in chunks for broken in chunk.broken),
    )


def reject_where(*cases: tuple[pl.Expr, str, pl.Expr | str]) -> dict[str, pl.Expr]:
    """Return the columns of rows that are no judgment, from the first case that holds.

    A case is (condition, code of REJECT_REASONS, message).
    """
    return {
        "reject": pl.coalesce(pl.when(holds).then(pl.lit(reason)) for holds, reason, _ in cases),
        "reject_text": pl.coalesce(
            pl.when(holds).then(pl.lit(text) if isinstance(text, str) else text) for holds, _, text in cases
        ),
    }


def first_of(frame: pl.DataFrame, *names: str) -> pl.Expr:
    """Return the first of these columns that is not empty, row by row; null for columns that do not exist."""
    own = [pl.when(pl.col(name) != "").then(pl.col(name)) for name in names if name in frame.columns]
    return pl.coalesce(own) if own else pl.lit(None, pl.String)


def without_empty(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with null for empty texts."""
    holds = [name for name in frame.columns if (frame[name].str.len_bytes() == 0).any()]
    return frame.with_columns(pl.when(pl.col(name) != "").then(name).alias(name) for name in holds)


def renumbered(broken: Sequence[BrokenRecord], first: int) -> tuple[BrokenRecord, ...]:
    """Return broken records with the lines first, first + 1, …; their messages state their position in the file."""
    return tuple(
        record._replace(line=line, message=f"record {record.line}: {record.message}")
        for line, record in enumerate(broken, start=first)
    )


def with_data(row: dict[str, Any], data: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the columns of a row with the data of its task; a name that the row already has gets a prefix."""
    return row | {(f"{prefix}{name}" if name in row else name): value for name, value in data.items()}


def with_missing(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Return the frame with a column of nulls for each of these names that it lacks."""
    return frame.with_columns(pl.lit(None, pl.String).alias(name) for name in names if name not in frame.columns)


def read_head(file: VoteFile) -> Head:
    """Return the head of a file; without columns if it cannot be read (the reader reports why)."""
    records: list[dict[str, Any]] = []
    columns: list[str] = []
    if file.format in ("parquet", "arrow"):
        try:
            columns = arrow_batches(file)[0]
        except (OSError, pa.ArrowException):
            columns = []
    elif file.format == "csv":
        columns = _header(_first_block(file), file.mapping.separator)
    elif file.format == "jsonl":
        records = _first_lines(_first_block(file))
    else:
        records = _first_item(_first_block(file))
    keys = dict.fromkeys(key for record in records for key in record)
    return Head(file.format, frozenset(columns or keys), tuple(records))


def heads(file: VoteFile) -> Iterator[Head]:
    """Yield the head of a file, once."""
    yield read_head(file)


def _first_block(file: VoteFile) -> str:
    try:
        block = next(iter(file.blocks()), b"")
    except DamagedFile:
        return ""
    return block.removeprefix(BOM).decode("utf-8", "replace")


def _header(text: str, separator: str) -> list[str]:
    line = text.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=separator or delimiter_of(line)), [])]
    except csv.Error:
        return []


def _first_lines(text: str) -> list[dict[str, Any]]:
    records = []
    for line in text.split("\n", SNIFFED_LINES)[:SNIFFED_LINES]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # the reader reports it
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _first_item(text: str) -> list[dict[str, Any]]:
    """Return the first item of a JSON array, if it is an object."""
    start = text.find("[") + 1
    try:
        item, _ = json.JSONDecoder().raw_decode(text, start + len(text[start:]) - len(text[start:].lstrip()))
    except (ValueError, RecursionError):
        return []
    return [item] if isinstance(item, dict) else []

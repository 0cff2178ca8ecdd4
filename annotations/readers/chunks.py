"""Files as frames of text columns, chunk by chunk, each row with its line and each unreadable record by name."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from annotations.readers.files import BrokenFile, VoteFile
from annotations.readers.halving import parse_by_halves
from annotations.readers.records import NEWLINE, Records, count_fields, split_csv, split_lines
from schemas.errors import CurateError

BOM = b"\xef\xbb\xbf"
DELIMITERS = ",\t;|"
PARQUET_ROWS = 250_000
SPACE = re.compile(r"[ \t\r\n]*")


class Broken(NamedTuple):
    """A record that cannot be read."""

    line: int
    reason: str
    """A code of REJECT_REASONS."""
    message: str
    text: str
    damage: bool
    """The file itself is damaged here (``--on-error`` decides), not only this row."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file."""

    frame: pl.DataFrame
    """(n, columns), every column a String; lists and objects as JSON text; empty fields null."""
    line: pl.Series
    """(n,) Int64: the line of each row; its ordinal in JSON arrays and Parquet."""
    broken: tuple[Broken, ...] = field(default=())
    skipped: dict[str, int] = field(default_factory=dict)
    """What the file holds beside judgments, counted by kind: they are no rows."""


def read_chunks(file: VoteFile) -> Iterator[Chunk]:
    """The file's rows in order. Raises CurateError where it has no usable header."""
    reader = {"csv": _csv, "jsonl": _jsonl, "json": _json, "parquet": _parquet}[file.format]
    return reader(file)


def delimiter_of(header: str) -> str:
    """The delimiter that a header line uses most; a comma where it uses none."""
    return max(DELIMITERS, key=header.count)


class _Blocks:
    """A file's bytes without its byte-order mark; remembers how they ended."""

    def __init__(self, file: VoteFile) -> None:
        self.file = file
        self.damage = ""

    def __iter__(self) -> Iterator[bytes]:
        start: bytes | None = b""
        try:
            for block in self.file.blocks():
                if start is None:
                    yield block
                elif len(start := start + block) >= len(BOM):
                    yield start.removeprefix(BOM)
                    start = None
        except BrokenFile as error:
            self.damage = str(error)
        if start:
            yield start.removeprefix(BOM)

    def first_line(self) -> str:
        """The first line that is not blank."""
        start = b""
        for block in self:
            start = (start + block).lstrip(b"\r\n")
            if b"\n" in start:
                break
        return start.split(b"\n", 1)[0].decode("utf-8", "replace")


def _csv(file: VoteFile) -> Iterator[Chunk]:
    blocks = _Blocks(file)
    delimiter = delimiter_of(_Blocks(file).first_line())
    header: list[str] | None = None
    previous: Records | None = None
    for records in split_csv(iter(blocks), delimiter):
        if previous is not None and len(previous):
            yield _csv_chunk(previous, header or [], delimiter)
        if header is None:
            header = _header(file, records.text(0), delimiter)
            records = records.take(np.arange(1, len(records)))
        previous = records
    if previous is not None:
        yield _without_cut(_csv_chunk, previous, blocks.damage, header or [], delimiter)


def _header(file: VoteFile, text: str, delimiter: str) -> list[str]:
    try:
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    except csv.Error as error:
        hint = "lines must end with \\n or \\r\\n" if "\r" in text else "mend the first line"
        raise CurateError(f"{file.path}:1: the header cannot be read: {error}", hint=hint) from error
    # A column without a name is an index that some tool wrote: it is kept, and no field takes it.
    names = [name or f"unnamed_{place}" for place, name in enumerate(names, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        what = f"names {', '.join(twice)} twice"
        raise CurateError(f"{file.path}:1: the header {what}", hint="every column needs a name of its own")
    return names


def _csv_chunk(records: Records, header: list[str], delimiter: str) -> Chunk:
    fields = count_fields(records, delimiter)
    fits = records.sound & (fields == len(header))
    broken = [_unsound(records, int(i)) for i in np.flatnonzero(~records.sound)]
    broken += [
        Broken(
            line=int(records.line[i]),
            reason="wrong-field-count",
            message=f"{fields[i]} fields where the header has {len(header)}",
            text=records.text(int(i)),
            damage=False,
        )
        for i in np.flatnonzero(records.sound & ~fits)
    ]
    kept = records.take(fits)

    def parse(lo: int, hi: int) -> pl.DataFrame:
        frame = pl.read_csv(
            io.BytesIO(kept.take(np.arange(lo, hi)).joined()),
            has_header=False,
            separator=delimiter,
            schema=dict.fromkeys(header, pl.String),
        )
        if frame.height != hi - lo:
            raise pl.exceptions.ComputeError("not one row a record")
        return frame

    return _parsed(kept, parse, broken, pl.DataFrame(schema=dict.fromkeys(header, pl.String)))


def _jsonl(file: VoteFile) -> Iterator[Chunk]:
    blocks = _Blocks(file)
    previous: Records | None = None
    for records in split_lines(iter(blocks)):
        if previous is not None:
            yield _jsonl_chunk(previous)
        previous = records
    if previous is not None:
        yield _without_cut(_jsonl_chunk, previous, blocks.damage)


def _jsonl_chunk(records: Records) -> Chunk:
    broken = [_unsound(records, int(i)) for i in np.flatnonzero(~records.sound)]
    kept = records.take(records.sound)

    def parse(lo: int, hi: int) -> pl.DataFrame:
        text = kept.take(np.arange(lo, hi)).joined()
        names = _keys(text)
        if not names:  # polars would take a number for an object without keys
            raise pl.exceptions.ComputeError("not one object a line")
        frame = pl.read_ndjson(io.BytesIO(text), schema=dict.fromkeys(names, pl.String))
        if frame.height != hi - lo:
            raise pl.exceptions.ComputeError("not one object a line")
        return frame

    return _parsed(kept, parse, broken, pl.DataFrame())


def _keys(text: bytes) -> list[str]:
    """The keys of all objects, in order of appearance."""
    try:
        return pl.read_ndjson(io.BytesIO(text), infer_schema_length=None).columns
    except (pl.exceptions.SchemaError, pl.exceptions.ComputeError):  # one key holds values of unlike types
        objects: list[Any] = [json.loads(line) for line in text.splitlines()]
        return list(dict.fromkeys(key for item in objects if isinstance(item, dict) for key in item))


def _json(file: VoteFile) -> Iterator[Chunk]:
    """A JSON array of objects. A row's line is its place in the array, from 1."""
    blocks = _Blocks(file)
    raw = b"".join(blocks)
    damage = blocks.damage
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        damage = damage or f"not UTF-8 at byte {error.start}"
        text = raw[: error.start].decode("utf-8").strip()
    items: list[Any] = []
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        damage = damage or f"not JSON from here on: {error.msg}"
        items = _whole_items(text)
    lines = [json.dumps(item).encode() for item in items]
    size = np.array([len(line) for line in lines], np.int64)
    end = np.cumsum(size + 1) - 1
    data = np.frombuffer(b"\n".join(lines), np.uint8)
    chunk = _jsonl_chunk(Records(data, end - size, end, np.arange(1, len(lines) + 1), np.ones(len(lines), np.bool_)))
    cut = (Broken(len(items) + 1, "broken-record", damage, "", damage=True),) if damage else ()
    yield Chunk(chunk.frame, chunk.line, chunk.broken + cut)


def _whole_items(text: str) -> list[Any]:
    """The items of a damaged JSON array that can still be read, from its start.

    A last item that only the end of the text ends may go on: a 1 that was a 10.
    """
    decoder, at = json.JSONDecoder(), 1
    items: list[Any] = []
    while True:
        at = SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text
        try:
            item, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return items
        at = SPACE.match(text, end).end()  # type: ignore[union-attr]
        if at == len(text) and not isinstance(item, dict):
            return items
        items.append(item)
        if text[at : at + 1] != ",":
            return items
        at += 1


def _parquet(file: VoteFile) -> Iterator[Chunk]:
    """Rows of a Parquet file. A row's line is its ordinal, from 1."""
    line = 1
    try:
        table = pq.ParquetFile(file.path)
        names = table.schema_arrow.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise CurateError(
                f"{file.path}: names {', '.join(twice)} twice", hint="every column needs a name of its own"
            )
        for batch in table.iter_batches(batch_size=PARQUET_ROWS):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield Chunk(_as_text(frame), pl.int_range(line, line + frame.height, eager=True))
            line += frame.height
    except (OSError, pa.ArrowException) as error:
        empty = pl.Series("line", [], pl.Int64)
        message = f"the Parquet file is damaged ({error})"
        yield Chunk(pl.DataFrame(), empty, (Broken(line, "broken-record", message, "", damage=True),))


def _as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column as String: numbers and times in their usual spelling, lists and structs as JSON."""
    columns = []
    for name, dtype in frame.schema.items():
        column = frame[name]
        if dtype.is_nested():
            wrapped = pl.DataFrame({"v": column}).select(pl.struct("v").struct.json_encode()).to_series()
            text = wrapped.str.slice(5, wrapped.str.len_chars() - 6)  # {"v":…}
            columns.append(pl.select(pl.when(column.is_not_null()).then(text)).to_series().alias(name))
        elif dtype == pl.Binary:
            try:
                columns.append(column.cast(pl.String))
            except pl.exceptions.ComputeError:  # pictures and the like
                columns.append(column.bin.encode("hex"))
        else:
            columns.append(column.cast(pl.String))
    return pl.DataFrame(columns)


def _parsed(kept: Records, parse: Any, broken: list[Broken], empty: pl.DataFrame) -> Chunk:
    """A chunk of the records that ``parse`` can read; the others join the broken ones."""
    failures = (pl.exceptions.PolarsError, json.JSONDecodeError)
    pieces, bad = parse_by_halves(parse, 0, len(kept), failures)
    for i in map(int, bad):
        if not kept.text(i).strip():
            continue  # a line of blanks is as good as none
        broken.append(Broken(int(kept.line[i]), "broken-record", "the record cannot be parsed", kept.text(i), True))
    good = np.ones(len(kept), np.bool_)
    good[bad] = False
    frame = pl.concat(pieces, how="diagonal") if pieces else empty
    return Chunk(frame, pl.Series("line", kept.line[good], pl.Int64), tuple(sorted(broken)))


def _unsound(records: Records, i: int) -> Broken:
    text = records.text(i)
    raw = records.data[records.start[i] : records.end[i]].tobytes()
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Broken(int(records.line[i]), "bad-encoding", f"not UTF-8 ({error.reason})", text, damage=True)
    message = "a quote opens or closes within a field, or is never closed"
    return Broken(int(records.line[i]), "broken-record", message, text, damage=True)


def _without_cut(read: Any, records: Records, damage: str, *args: Any) -> Chunk:
    """The last chunk. Where the file is cut off, what follows the last line break is half a record."""
    if not damage:
        chunk: Chunk = read(records, *args)
        return chunk
    cut = len(records) > 0 and NEWLINE not in records.data[records.end[-1] :]
    whole = len(records) - cut
    chunk = read(records.take(np.arange(whole)), *args)
    at, begin = (int(records.line[-1]), int(records.start[-1])) if len(records) else (1, 0)
    line = at if cut else at + int(np.count_nonzero(records.data[begin:] == NEWLINE))
    text = records.text(whole) if cut else ""
    return Chunk(chunk.frame, chunk.line, (*chunk.broken, Broken(line, "broken-record", damage, text, damage=True)))

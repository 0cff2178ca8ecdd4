"""CSV, JSONL, JSON and Parquet files as frames of text columns, chunk by chunk; every row knows its line."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from annotations.readers.blocks import Blocks, Dialect
from annotations.readers.files import VoteFile
from annotations.readers.guard import guarded
from annotations.readers.json_array import ArrayItems, deep_records, nested_beyond, one_record, records_with_numbers
from annotations.readers.json_text import MAX_KEYS, encode_columns, is_json, read_objects
from annotations.readers.records import NEWLINE, Records, count_fields, split_lines
from schemas.errors import CurateError
from schemas.mapping import Limits

DELIMITERS = ",\t;|"
PARQUET_ROWS = 250_000
BATCH_BYTES = 1 << 27
"""Bytes of a Parquet file that are read at a time, as its metadata states them."""


class BrokenRecord(NamedTuple):
    """A record that cannot be read."""

    line: int
    reason: str
    """A code of REJECT_REASONS."""
    message: str
    text: str
    damage: bool
    """The file itself is damaged here, not only this row; ``IngestConfig.on_error`` decides what happens."""


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file."""

    frame: pl.DataFrame
    """(n, columns), every column a String; lists and objects as JSON text; empty fields null."""
    line: pl.Series
    """(n,) Int64: the 1-based line of each row; in JSON arrays and Parquet its 1-based position."""
    broken: tuple[BrokenRecord, ...] = field(default=())
    skipped: dict[str, int] = field(default_factory=dict)
    """Kind -> count of records that are not judgments; they do not count as rows."""


def read_chunks(file: VoteFile, *, optional: Collection[str] = ()) -> Iterator[Chunk]:
    """Yield the file's rows in order. Raises CurateError if the header cannot be used.

    optional: names of columns of a CSV file that rows may omit where the header ends with them.
    """
    if file.format == "csv":
        return _csv(file, optional)
    return {"jsonl": _jsonl, "json": _json, "parquet": _parquet, "arrow": _parquet}[file.format](file)


def guarded_chunks(file: VoteFile) -> Iterator[Chunk]:
    """Yield the rows of a plain table as ``read_chunks``, from a child process unless it is CSV.

    To receive the rows of a large CSV file from another process takes more than twice the time of reading them here,
    and what reads them is memory-safe: numpy finds the records, polars parses them.
    """
    return read_chunks(file) if file.format == "csv" else guarded(read_chunks, file)


EXCEL_SEPARATOR = re.compile("sep=.", re.IGNORECASE)
"""A first line that tells Excel the separator; it is not the header."""


def delimiter_of(header: str) -> str:
    """Return the delimiter that occurs most often in a header line; a comma if none occurs."""
    return max(DELIMITERS, key=header.count)


def _too_large(blocks: Blocks) -> Chunk:
    """Return a chunk of no rows, and the lines that were skipped as rejects."""
    message = f"a record of more than {blocks.file.limits.record_mib:g} MiB ([ingest.limits] record_mib)"
    broken = tuple(BrokenRecord(line, "too-large", message, "", damage=False) for line in blocks.oversized)
    return Chunk(pl.DataFrame(), pl.Series("line", [], pl.Int64), broken)


def _csv(file: VoteFile, optional: Collection[str]) -> Iterator[Chunk]:
    first = Blocks(file).first_line().rstrip("\r")
    separator = file.mapping.separator or delimiter_of(first)
    if EXCEL_SEPARATOR.fullmatch(first) and not file.mapping.comment:
        separator = file.mapping.separator or first[-1]
        file = replace(file, mapping=file.mapping.model_copy(update={"comment": first}))
    blocks = Blocks(file)
    dialect = Dialect(separator, file.mapping.quoting)
    header: list[str] | None = None
    previous: Records | None = None
    for records in blocks.csv_records(dialect):
        if previous is not None and len(previous):
            yield _without_deep(_csv_chunk(previous, header or [], dialect, optional), file.limits)
        if header is None:
            if blocks.oversized:
                break
            header = _header(file, records.text(0), dialect)
            records = records.take(np.arange(1, len(records)))
        previous = records
    if previous is not None:
        last = _without_cut(_csv_chunk, previous, blocks.damage, header or [], dialect, optional)
        skipped = {"comment lines": blocks.comments} if blocks.comments else {}
        yield replace(_without_deep(last, file.limits), skipped=skipped)
    if blocks.oversized:
        if header is None:
            hint = "correct the first line, or raise record_mib under [ingest.limits] in curate.toml"
            raise CurateError(f"{file}:1: the header is larger than {file.limits.record_mib:g} MiB", hint=hint)
        yield _too_large(blocks)


def _header(file: VoteFile, text: str, dialect: Dialect) -> list[str]:
    if dialect.quoting:
        reader = csv.reader([text], delimiter=dialect.delimiter)
    else:
        reader = csv.reader([text], delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)
    try:
        names = [name.strip() for name in next(reader)]
    except csv.Error as error:
        hint = "lines must end with \\n or \\r\\n" if "\r" in text else "correct the first line"
        raise CurateError(f"{file}:1: the header cannot be read: {error}", hint=hint) from error
    # A column without a name is an index column (pandas writes one). It gets a name that no field uses.
    names = [name or f"unnamed_{place}" for place, name in enumerate(names, start=1)]
    _check_columns(f"{file}:1", names)
    return names


def _check_columns(where: str, names: list[str]) -> None:
    """Raise CurateError if two columns have the same name, or if there are too many."""
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise CurateError(
            f"{where}: two columns are named {', '.join(repeated[:5])}", hint="give each column its own name"
        )
    if len(names) > MAX_KEYS:
        message = f"{where}: {len(names):,} columns; expected at most {MAX_KEYS:,}"
        raise CurateError(message, hint="one row per vote, not one column")


def _csv_chunk(records: Records, header: list[str], dialect: Dialect, optional: Collection[str]) -> Chunk:
    fields = count_fields(records, dialect.delimiter, quoting=dialect.quoting)
    omitted = sum(1 for _ in takewhile(optional.__contains__, reversed(header)))
    fits = records.sound & (fields <= len(header)) & (fields >= max(1, len(header) - omitted))
    broken = [_unsound(records, int(i)) for i in np.flatnonzero(~records.sound)]
    broken += [
        BrokenRecord(
            line=int(records.line[i]),
            reason="wrong-field-count",
            message=f"{fields[i]} fields; expected {len(header)}, as in the header",
            text=records.text(int(i)),
            damage=False,
        )
        for i in np.flatnonzero(records.sound & ~fits)
    ]
    empty = pl.DataFrame(schema=dict.fromkeys(header, pl.String))
    chunks = [Chunk(empty, pl.Series("line", [], pl.Int64), tuple(broken))]
    for width in np.unique(fields[fits]):
        chunks.append(_parse_csv(records.take(fits & (fields == width)), header[:width], dialect))
    return chunks[1] if len(chunks) == 2 and not broken and chunks[1].frame.width == len(header) else _merged(chunks)


def _merged(chunks: list[Chunk]) -> Chunk:
    """Return the rows and broken records of chunks in the order of their lines."""
    line = pl.concat([chunk.line for chunk in chunks])
    order = line.arg_sort()
    frame = pl.concat([chunk.frame for chunk in chunks], how="diagonal")[order]
    return Chunk(frame, line[order], tuple(sorted(record for chunk in chunks for record in chunk.broken)))


def _parse_csv(records: Records, header: list[str], dialect: Dialect) -> Chunk:
    """Return records with one field for each name."""
    quote = '"' if dialect.quoting else None
    schema = dict.fromkeys(header, pl.String)

    def parse(lo: int, hi: int) -> pl.DataFrame:
        text = io.BytesIO(records.take(np.arange(lo, hi)).joined())
        frame = pl.read_csv(text, has_header=False, separator=dialect.delimiter, quote_char=quote, schema=schema)
        if frame.height != hi - lo:
            raise pl.exceptions.ComputeError("not one row per record")
        return frame

    pieces, bad = _parse_by_halves(parse, 0, len(records))
    broken = tuple(
        BrokenRecord(int(records.line[i]), "broken-record", "the record cannot be parsed", records.text(i), damage=True)
        for i in bad
    )
    frame = pl.concat([pl.DataFrame(schema=schema), *pieces])
    return Chunk(frame, pl.Series("line", np.delete(records.line, bad), pl.Int64), broken)


def _without_deep(chunk: Chunk, limits: Limits) -> Chunk:
    """Return a chunk whose rows with JSON that nests too deeply are rejects; what decodes it later may recurse."""
    frame = chunk.frame
    opens = pl.col(pl.String).str.count_matches(r"[\[{]") > limits.depth
    starts = pl.col(pl.String).str.contains(r"^\s*[\[{]")
    long = [column.name for column in frame if (column.str.len_bytes() > limits.depth).any()]
    if not long:
        return chunk
    may = frame.select(long).select(pl.any_horizontal((starts & opens).fill_null(False))).to_series().arg_true()
    deep = [
        place
        for place, row in zip(may, frame[may].select(long).iter_rows(), strict=True)
        if any(text and nested_beyond(np.frombuffer(text.encode(), np.uint8), limits.depth) for text in row)
    ]
    broken = tuple(BrokenRecord(line, *_too_deep(limits)) for line in chunk.line[deep])
    keep = ~pl.int_range(frame.height, eager=True).is_in(deep)
    return replace(chunk, frame=frame.filter(keep), line=chunk.line.filter(keep), broken=(*chunk.broken, *broken))


def _too_deep(limits: Limits) -> tuple[str, str, str, bool]:
    return "too-deep", f"lists and objects nested beyond {limits.depth} levels ([ingest.limits] depth)", "", False


def _jsonl(file: VoteFile) -> Iterator[Chunk]:
    blocks = Blocks(file)
    previous: Records | None = None
    for records in split_lines(iter(blocks), blocks.most, blocks.oversized):
        if previous is not None:
            yield _json_chunk(previous, file.limits)
        previous = records
    if previous is not None:
        yield _without_cut(_json_chunk, previous, blocks.damage, file.limits)
    if blocks.oversized:
        yield _too_large(blocks)


def _json_chunk(records: Records, limits: Limits) -> Chunk:
    """Return records, each of which should be one JSON object."""
    deep = deep_records(records, limits.depth)
    long = ~deep & records_with_numbers(records, limits.digits)
    digits = f"a number of more than {limits.digits} digits ([ingest.limits] digits)"
    broken = [BrokenRecord(line, *_too_deep(limits)) for line in records.line[deep].tolist()]
    broken += [BrokenRecord(line, "too-many-digits", digits, "", damage=False) for line in records.line[long].tolist()]
    refused = deep | long
    frame, is_object, repeats = read_objects(replace(records, sound=records.sound & ~refused).texts())
    for i in np.flatnonzero(~refused & (~is_object | repeats)):
        if not records.sound[i]:
            broken.append(_unsound(records, int(i)))
        elif text := records.text(int(i)).strip():  # a line of spaces is an empty line
            message = "a key occurs twice" if repeats[i] else "not a JSON object"
            broken.append(BrokenRecord(int(records.line[i]), "broken-record", message, text, damage=True))
    return Chunk(frame, pl.Series("line", records.line[is_object & ~repeats], pl.Int64), tuple(broken))


def _json(file: VoteFile) -> Iterator[Chunk]:
    """Yield the objects of a JSON array. A row's line is its 1-based position. Nothing is read after broken JSON."""
    blocks = Blocks(file)
    items = ArrayItems(iter(blocks), blocks.most)
    for records in items:
        chunk = _json_chunk(records, file.limits)
        texts = [record.text for record in chunk.broken if record.reason == "broken-record"]
        if not all(valid := is_json(texts)):
            first = [record.line for record in chunk.broken if record.reason == "broken-record"][valid.index(False)]
            chunk = _json_chunk(records.take(records.line < first), file.limits)
            yield replace(chunk, broken=(*chunk.broken, _damage(first, "not JSON from here on")))
            return
        yield chunk
    line = items.count + 1
    if items.oversized:
        raise CurateError(
            f"{file}: item {line} is larger than {file.limits.record_mib:g} MiB",
            hint="raise record_mib under [ingest.limits] in curate.toml, or give one object per line (JSONL)",
        )
    if items.closed and not items.rest and not blocks.damage:
        yield Chunk(pl.DataFrame(), pl.Series("line", [], pl.Int64))
        return
    # A last item without a following comma may be incomplete (a 1 that was a 10); only an object is known to be whole.
    if not items.closed and (whole := _json_chunk(one_record(items.rest, line), file.limits)).frame.height:
        yield whole
        line += 1
    damage = _damage(line, blocks.damage or "not JSON from here on")
    yield Chunk(pl.DataFrame(), pl.Series("line", [], pl.Int64), (damage,))


def _damage(line: int, message: str) -> BrokenRecord:
    return BrokenRecord(line, "broken-record", message, "", damage=True)


def arrow_batches(file: VoteFile) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """Return (columns, rows in batches) of a Parquet file or an Arrow IPC file or stream."""
    if file.format == "parquet":
        table = pq.ParquetFile(file.path)
        groups = [table.metadata.row_group(i) for i in range(table.metadata.num_row_groups)]
        wide = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
        rows = min(PARQUET_ROWS, max(1, int(BATCH_BYTES / max(1, wide))))
        return table.schema_arrow.names, table.iter_batches(batch_size=rows)
    source = pa.memory_map(str(file.path))
    if source.read(6) == b"ARROW1":
        reader = pa.ipc.open_file(source)
        return reader.schema.names, (reader.get_batch(i) for i in range(reader.num_record_batches))
    source.seek(0)
    stream = pa.ipc.open_stream(source)
    return stream.schema.names, iter(stream)


def _parquet(file: VoteFile) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file. A row's line is its 1-based position."""
    line = 1
    try:
        names, batches = arrow_batches(file)
        _check_columns(str(file), names)
        for batch in batches:
            batch.validate(full=True)  # polars trusts offsets and the encoding of texts
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            rows = Chunk(encode_columns(frame), pl.int_range(line, line + frame.height, eager=True))
            yield _without_deep(rows, file.limits)
            line += frame.height
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:  # names of columns need not be UTF-8
        empty = pl.Series("line", [], pl.Int64)
        message = f"the {file.format.capitalize()} file is damaged ({error})"
        yield Chunk(pl.DataFrame(), empty, (BrokenRecord(line, "broken-record", message, "", damage=True),))


def _parse_by_halves(
    parse: Callable[[int, int], pl.DataFrame], lo: int, hi: int
) -> tuple[list[pl.DataFrame], list[int]]:
    """Return (parsed pieces in order, positions that cannot be parsed) of the records lo … hi − 1.

    ``parse(lo, hi)`` parses a range or raises PolarsError. k bad records among n cost about k log₂ n calls.
    """
    if lo == hi:
        return [], []
    try:
        return [parse(lo, hi)], []
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        if hi - lo == 1:
            return [], [lo]
    middle = (lo + hi) // 2
    left, bad_left = _parse_by_halves(parse, lo, middle)
    right, bad_right = _parse_by_halves(parse, middle, hi)
    return left + right, bad_left + bad_right


def _unsound(records: Records, i: int) -> BrokenRecord:
    text = records.text(i)
    raw = records.data[records.start[i] : records.end[i]].tobytes()
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return BrokenRecord(int(records.line[i]), "bad-encoding", f"not UTF-8 ({error.reason})", text, damage=True)
    message = (
        "a quote opens or closes inside a field, or is never closed; are quotes ordinary characters here? (quoting)"
    )
    return BrokenRecord(int(records.line[i]), "broken-record", message, text, damage=True)


def _without_cut(read: Any, records: Records, damage: str, *args: Any) -> Chunk:
    """Return the last chunk. If the file is truncated, the text after the last line break is an incomplete record."""
    if not damage:
        chunk: Chunk = read(records, *args)
        return chunk
    cut = len(records) > 0 and NEWLINE not in records.data[records.end[-1] :]
    whole = len(records) - cut
    chunk = read(records.take(np.arange(whole)), *args)
    at, begin = (int(records.line[-1]), int(records.start[-1])) if len(records) else (1, 0)
    line = at if cut else at + int(np.count_nonzero(records.data[begin:] == NEWLINE))
    text = records.text(whole) if cut else ""
    last = BrokenRecord(line, "broken-record", damage, text, damage=True)
    return Chunk(chunk.frame, chunk.line, (*chunk.broken, last))

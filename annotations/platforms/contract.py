"""The contract of a platform reader as a check that its tests call.

from annotations.platforms.contract import check_platform

def test_contract() -> None:
    check_platform(PLATFORM, ["tests/export.json", "tests/export.csv"])
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from annotations.file_reader import FileReader
from annotations.platforms.base import Platform, read_head
from annotations.platforms.registry import AUTO, GENERIC, PLATFORMS, all_platforms
from annotations.readers.files import VoteFile, find_files
from annotations.readers.formats import Chunk, delimiter_of
from schemas.config import IngestConfig
from schemas.errors import CurateError
from schemas.votes import REJECT_REASONS

NOW = datetime(2100, 1, 1)
"""Naive UTC, later than any vote of a test."""
TRIALS = 50
"""Damaged copies of each file."""
GONE = object()
"""Instead of a value: its key or item is removed."""
ODD: tuple[Any, ...] = (
    GONE, None, [], {}, [[1]], [None], {"a": {"b": [1]}}, {"choices": [None]}, [{"value": None}], 5, -1.5, True, 10**25,
    "", "x@y.org", "10.1.2.3", "[1,", "[null]", '{"choices": [["x"]]}', "ünïcödé \u202e\x00", "\\frac\\n\"", "A" * 3000,
)  # fmt: skip
"""What takes the place of a value in a damaged copy."""


def check_platform(
    platform: Platform,
    files: Iterable[str | Path],
    *,
    config: IngestConfig = IngestConfig(),
    trials: int = TRIALS,
    seed: int = 0,
) -> None:
    """Raise AssertionError if a platform reader breaks its contract on some of the files or on damaged copies of them.

    * The declaration is complete, and the name is no other platform's.
    * Every file is recognized by this platform and by no other.
    * Every column of a chunk is text, every row has a line of its own, from 1, and a second reading is equal.
    * Every row becomes a vote, a control answer or a reject, and some row becomes a vote or control answer. ``config``
      has the mapping, if one is needed.
    * Damaged copies (``trials`` per file, made with ``seed``) are read as well or raise CurateError.
    """
    _check_declaration(platform)
    for file in find_files(files):
        _check_head(platform, file)
        if platform.read_participants is not None:
            assert platform.read_participants(file).facts, f"{file}: no participants"
        else:
            chunks = read_checked(platform, file)
            again = read_checked(platform, file)
            same = len(chunks) == len(again) and all(map(_equal, chunks, again))
            assert same, f"{file}: a second reading differs"
            _check_counts(platform, file, chunks, config)
        with tempfile.TemporaryDirectory() as folder:
            rng = Random(seed)
            for _ in range(trials):
                check_damaged(platform, file.path, Path(folder), rng)


def read_checked(platform: Platform, file: VoteFile) -> list[Chunk]:
    """Return the chunks of a file. Raises AssertionError if one has the wrong shape or two rows have the same line."""
    chunks = list(platform.read(file, NOW))
    seen: set[int] = set()
    for chunk in chunks:
        wrong = {name: str(dtype) for name, dtype in chunk.frame.schema.items() if dtype != pl.String}
        assert not wrong, f"{file}: columns that are not String: {wrong}"
        assert chunk.line.dtype == pl.Int64, f"{file}: lines are {chunk.line.dtype}, not Int64"
        assert len(chunk.line) == chunk.frame.height, f"{file}: {len(chunk.line)} lines, {chunk.frame.height} rows"
        lines = [*chunk.line, *(record.line for record in chunk.broken)]
        assert all(line >= 1 for line in lines), f"{file}: a line below 1"
        assert len(seen) + len(lines) == len(seen.union(lines)), f"{file}: two rows have the same line"
        seen.update(lines)
        assert all(count > 0 for count in chunk.skipped.values()), f"{file}: skipped counts {chunk.skipped}"
    return chunks


def check_damaged(platform: Platform, path: Path, folder: Path, rng: Random) -> None:
    """Raise AssertionError if the reader fails on a damaged copy of a file, made in a folder, or breaks its shape."""
    copy = folder / path.name
    write_damaged(path, copy, rng)
    try:
        [file] = find_files([copy])
        platform.recognizes(read_head(file))
        if platform.read_participants is not None:
            platform.read_participants(file)
        read_checked(platform, file)
    except CurateError:
        return
    except Exception as error:
        raise AssertionError(f"{path.name}: {error!r} on this copy: {copy.read_bytes()[:2000]!r}") from error


def write_damaged(path: Path, copy: Path, rng: Random) -> None:
    """Write a copy of a text file in which one to three values are replaced, or which is cut off."""
    raw = path.read_bytes()
    [file] = find_files([path])
    if file.gzipped or file.format in ("parquet", "arrow") or rng.random() < 0.1:
        copy.write_bytes(raw[: rng.randrange(len(raw))] or b"{}")
        return
    text = raw.decode("utf-8-sig")
    records = _records(file, text)
    for _ in range(rng.randint(1, 3)):
        if places := list(_places(records)):
            _replace(records, rng.choice(places), rng.choice(ODD))
    mark, ends = rng.choice(("", "\ufeff")), rng.choice(("\n", "\r\n"))
    copy.write_text(mark + _text(file, text, records, ends), encoding="utf-8", newline="")


def _records(file: VoteFile, text: str) -> Any:
    if file.format == "csv":
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    return json.loads(text) if file.format == "json" else [json.loads(line) for line in text.splitlines() if line]


def _text(file: VoteFile, text: str, records: Any, ends: str) -> str:
    """Return records in the format of their file."""
    if file.format == "json":
        return json.dumps(records)
    if file.format == "jsonl":
        return "".join(json.dumps(record) + ends for record in records)
    rows = [record for record in records if isinstance(record, dict)]
    names = list(dict.fromkeys(str(name) for row in rows for name in row)) or ["empty"]
    into = io.StringIO()
    writer = csv.writer(into, delimiter=_delimiter(text), lineterminator=ends)
    writer.writerow(names)
    for row in rows:
        values = [row.get(name) for name in names]
        writer.writerow([value if value is None or isinstance(value, str) else json.dumps(value) for value in values])
    return into.getvalue()


def _delimiter(text: str) -> str:
    return delimiter_of(text.partition("\n")[0])


def _places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the values within records are, by keys and positions."""
    if len(here) > 1:
        yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, own in inner:
        yield from _places(own, (*here, key))


def _replace(records: Any, where: tuple[Any, ...], odd: Any) -> None:
    for key in where[:-1]:
        records = records[key]
    if odd is GONE:
        del records[where[-1]]
    else:
        records[where[-1]] = json.loads(json.dumps(odd))  # a copy, which a later replacement may change


def _check_declaration(platform: Platform) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", platform.name), f"name {platform.name!r}: use a-z, 0-9, _ and -"
    for name in ("description", "detected_by", "sides", "dropped"):
        assert getattr(platform, name), f"{platform.name}: {name} is empty"
    others = [other for other in PLATFORMS if other is not platform]
    assert platform.name not in {AUTO, GENERIC, *(other.name for other in others)}, f"{platform.name!r} is taken"


def _check_head(platform: Platform, file: VoteFile) -> None:
    head = read_head(file)
    assert platform.recognizes(head), f"{file}: not recognized; its columns are {sorted(head.columns)}"
    others = [p.name for p in all_platforms() if p.name != platform.name and p.recognizes(head)]
    assert not others, f"{file}: also recognized by {', '.join(others)}"


def _check_counts(platform: Platform, file: VoteFile, chunks: list[Chunk], config: IngestConfig) -> None:
    """Raise AssertionError unless every row read becomes a vote, a control answer or a reject, and not all rejects."""
    read = sum(chunk.frame.height + len(chunk.broken) for chunk in chunks)
    # trusted: the platform need not be registered, and an exception keeps its traceback
    clean = list(FileReader(replace(file, trusted=True), platform, key=None).read(config, NOW))
    kept = sum(each.rows.height + each.controls.height for each in clean)
    rejects = sum(each.rejects.height for each in clean)
    assert kept + rejects == read, f"{file}: {read} rows became {kept} votes and control answers, {rejects} rejects"
    reasons = {reason for each in clean for reason in each.rejects["reason"]}
    assert reasons <= set(REJECT_REASONS), (
        f"{file}: unknown reasons of rejects: {sorted(reasons - set(REJECT_REASONS))}"
    )
    assert kept, f"{file}: no row became a vote; rejects: {sorted(reasons)}"


def _equal(one: Chunk, other: Chunk) -> bool:
    return (
        one.frame.equals(other.frame)
        and one.line.equals(other.line)
        and (one.broken, one.skipped) == (other.broken, other.skipped)
    )

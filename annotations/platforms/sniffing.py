"""The head of a file: all by which a platform is recognised, read without reading the file."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotations.readers.chunks import BOM, delimiter_of
from annotations.readers.files import BrokenFile, Format, VoteFile

LINES = 50
"""Lines of a JSONL file that are looked at."""


@dataclass(frozen=True)
class Head:
    """What a file shows of itself."""

    name: str
    """Of the file, without its folder."""
    format: Format
    columns: frozenset[str]
    """Of the header, or the keys of the first records; empty where none can be read."""
    records: tuple[dict[str, Any], ...]
    """The first records of JSON and JSONL, as they are."""

    def has(self, *columns: str) -> bool:
        """Whether all of these columns are there."""
        return self.columns.issuperset(columns)

    def begins(self, *starts: str) -> bool:
        """Whether each of these begins some column."""
        return all(any(column.startswith(start) for column in self.columns) for start in starts)


def head_of(file: VoteFile) -> Head:
    """The head of a file; without columns where nothing of it can be read, which its reader will say in words."""
    records: list[dict[str, Any]] = []
    columns: list[str] = []
    if file.format == "parquet":
        try:
            columns = pq.ParquetFile(file.path).schema_arrow.names
        except (OSError, pa.ArrowException):
            columns = []
    elif file.format == "csv":
        columns = _header(_start(file))
    elif file.format == "jsonl":
        records = _first_lines(_start(file))
    elif file.format == "json":
        records = _first_item(_start(file))
    keys = dict.fromkeys(key for record in records for key in record)
    return Head(file.path.name, file.format, frozenset(columns or keys), tuple(records))


def _start(file: VoteFile) -> str:
    """The first block of a file, as text."""
    try:
        block = next(iter(file.blocks()), b"")
    except BrokenFile:
        return ""
    return block.removeprefix(BOM).decode("utf-8", "replace")


def _header(text: str) -> list[str]:
    line = text.lstrip("\r\n").partition("\n")[0].rstrip("\r")
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter_of(line)), [])]
    except csv.Error:
        return []


def _first_lines(text: str) -> list[dict[str, Any]]:
    records = []
    for line in text.split("\n", LINES)[:LINES]:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _first_item(text: str) -> list[dict[str, Any]]:
    """The first item of a JSON array."""
    start = text.find("[") + 1
    try:
        item, _ = json.JSONDecoder().raw_decode(text, start + len(text[start:]) - len(text[start:].lstrip()))
    except json.JSONDecodeError:
        return []
    return [item] if isinstance(item, dict) else []

"""Data files as rows: Parquet, JSONL and JSON, with typed access to cells and errors that name row and column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from curate.media.frames import MediaError
from curate.media.locate import inside
from schemas.errors import CurateError

QUOTED = 80
"""Characters of a value that an error quotes."""
BATCH = 256
"""Rows of a Parquet file that are in memory at once."""


class BadRowError(Exception):
    """A row that does not match its schema: the column, its value and what was expected."""

    def __init__(self, column: str, value: Any, expected: str) -> None:
        quoted = repr(value)
        quoted = quoted if len(quoted) <= QUOTED else quoted[: QUOTED - 1] + "…"
        found = "is missing or empty" if value is None else f"holds {quoted}"
        super().__init__(f"column '{column}' {found}; expected {expected}")
        self.reason = f"{column}: not {expected}"
        """The same without the value, for counts."""


@dataclass(frozen=True)
class Row:
    """One row. A cell that is null and a cell that is missing are both None. All accessors raise BadRowError."""

    number: int
    """Line number in JSONL, else position among the rows, from 1."""
    cells: Mapping[str, Any]

    def text(self, column: str, *, empty: bool = False) -> str:
        """A string, not blank unless ``empty``."""
        value = self.cells.get(column)
        if not isinstance(value, str) or not (empty or value.strip()):
            raise BadRowError(column, value, "a text")
        return value

    def optional_text(self, column: str) -> str:
        """A string; empty where there is none."""
        return "" if self.cells.get(column) is None else self.text(column, empty=True)

    def texts(self, column: str) -> tuple[str, ...]:
        """One or more strings, which may be empty."""
        value = self.cells.get(column)
        if not value or not _is_list(value, str):
            raise BadRowError(column, value, "a list of texts")
        return tuple(value)

    def media(self, column: str, name: str, folder: Path) -> Path:
        """The file of ``name``, a value of the column, in the media folder; it may be missing, and is not opened."""
        try:
            return inside(folder, name)
        except MediaError as error:
            expected = "a path relative to the media folder, without '..' or a link that leads out of it"
            raise BadRowError(column, name, expected) from error

    def integers(self, column: str, count: int) -> tuple[int, ...]:
        """``count`` whole numbers, one per response."""
        value = self.cells.get(column)
        if not isinstance(value, list) or len(value) != count or not _is_list(value, int):
            raise BadRowError(column, value, f"{count} whole numbers, one per response")
        return tuple(value)

    def probabilities(self, column: str, count: int) -> tuple[float, ...]:
        """``count`` numbers that sum to 1; none where there is no value."""
        value = self.cells.get(column) or []
        valid = _is_list(value, int, float) and (
            not value or (len(value) == count and min(value) >= 0 and abs(sum(value) - 1) < 1e-3)
        )
        if not valid:
            raise BadRowError(column, value, f"{count} numbers that sum to 1")
        return tuple(value)

    def identity(self, column: str = "id") -> str:
        """The row's id as text, else ``row N``."""
        value = self.cells.get(column)
        if value is None:
            return f"row {self.number}"
        if type(value) is not int and not (isinstance(value, str) and value.strip()):
            raise BadRowError(column, value, "a text or a whole number")
        return str(value)


def read_rows(path: Path) -> Iterator[Row | str]:
    """Each row of a .parquet, .jsonl or .json file (a list of objects), or ``FILE:NUMBER: what is wrong with it``.

    Raises CurateError where the file as a whole cannot be read.
    """
    readers = {".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise CurateError(f"{path}: file type '{path.suffix}' is not supported; expected {', '.join(readers)}")
    for number, cells in readers[path.suffix.lower()](path):
        if isinstance(cells, dict):
            yield Row(number, {name: value for name, value in cells.items() if value is not None})
        elif isinstance(cells, ValueError):
            yield f"{path}:{number}: not JSON: {cells}"
        else:
            yield f"{path}:{number}: contains a JSON {type(cells).__name__}; expected an object"


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise CurateError(f"{path}: not JSON: {error}") from error
    if not isinstance(rows, list):
        raise CurateError(f"{path}: contains a JSON {type(rows).__name__}; expected a list of objects")
    yield from enumerate(rows, start=1)


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    # Not splitlines, which also splits at characters that are valid inside JSON strings, such as U+2028.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                yield number, error


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # in batches: the rows of some datasets embed images
            batches = (batch.to_pylist() for batch in file.iter_batches(BATCH))
            yield from enumerate(chain.from_iterable(batches), start=1)
    except pa.ArrowInvalid as error:
        raise CurateError(f"{path}: not Parquet: {error}") from error


def _is_list(value: Any, *kinds: type) -> bool:
    return isinstance(value, list) and all(type(item) in kinds for item in value)

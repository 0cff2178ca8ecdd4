"""A foreign file as rows: JSON, JSONL or Parquet, each row with the number that an error names it by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import CurateError

SHOWN = 5
"""Bad rows that an error lists; the rest are counted."""
WIDEST = 80
"""Characters of a value that an error quotes."""


class BadRow(Exception):
    """One row that cannot be what its schema says: the column, what it holds and what was expected."""

    def __init__(self, column: str, value: Any, expected: str) -> None:
        said = repr(value)
        said = said if len(said) <= WIDEST else said[: WIDEST - 1] + "…"
        super().__init__(f"column '{column}' holds {said}; expected {expected}")


@dataclass(frozen=True)
class Row:
    """One row. Cells that are null and cells that are missing are the same: None."""

    number: int
    """Its line in JSONL, else its place among the rows, from 1."""
    cells: Mapping[str, Any]

    def text(self, column: str, *, empty: bool = False) -> str:
        """A string, which must not be blank unless ``empty``. Raises BadRow."""
        value = self.cells.get(column)
        if not isinstance(value, str) or not (empty or value.strip()):
            raise BadRow(column, value, "a text")
        return value

    def texts(self, column: str) -> tuple[str, ...]:
        """One string or more; they may be empty. Raises BadRow."""
        value = self.cells.get(column)
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise BadRow(column, value, "a list of texts")
        return tuple(value)

    def integers(self, column: str, count: int) -> tuple[int, ...]:
        """As many whole numbers as there are responses. Raises BadRow."""
        value = self.cells.get(column)
        if not isinstance(value, list) or len(value) != count or not all(type(number) is int for number in value):
            raise BadRow(column, value, f"{count} whole numbers, one a response")
        return tuple(value)

    def identity(self, column: str = "id") -> str:
        """The row's own id as text, else ``row N``. Raises BadRow where it is neither text nor a whole number."""
        value = self.cells.get(column)
        if value is None:
            return f"row {self.number}"
        if type(value) is not int and not (isinstance(value, str) and value.strip()):
            raise BadRow(column, value, "a text or a whole number")
        return str(value)


@dataclass(frozen=True)
class Table:
    path: Path
    columns: frozenset[str]
    """Those with a value in some row."""
    rows: tuple[Row, ...]


def read_table(path: Path, *, rename: Mapping[str, str] | None = None) -> Table:
    """Every row of a .json (a list of objects), .jsonl or .parquet file.

    rename: column of the file → the name that it is read by. Raises CurateError where the file is missing or empty, is
    of another kind, holds a row that is no object, or lacks a column that is to be renamed.
    """
    if not path.is_file():
        raise CurateError(f"{path}: no such file")
    readers = {".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise CurateError(f"{path}: of kind '{path.suffix}'; expected {', '.join(readers)}")
    names: dict[str, str] = dict(rename or {})
    rows: list[tuple[int, dict[str, Any]]] = []
    problems: list[str] = []
    for number, cells in readers[path.suffix.lower()](path):
        if isinstance(cells, dict):
            rows.append((number, cells))
        else:
            problems.append(f"{path}:{number}: {cells}")
    refuse(path, problems)
    if not rows:
        raise CurateError(f"{path}: holds no rows")
    columns = frozenset(name for _, cells in rows for name, value in cells.items() if value is not None)
    for old, new in names.items():
        if list(names.values()).count(new) > 1:
            raise CurateError(f"{path}: two columns cannot both be read as '{new}'")
        if old not in columns or (new in columns and new not in names):
            reason = f"no column '{old}'" if old not in columns else f"a column '{new}' already"
            raise CurateError(f"{path}: cannot read '{old}' as '{new}': it has {reason} among {listed(columns)}")
    return Table(
        path,
        frozenset(names.get(column, column) for column in columns),
        tuple(
            # A null column must not hide the one that takes its name.
            Row(number, {names.get(name, name): value for name, value in cells.items() if value is not None})
            for number, cells in rows
        ),
    )


def refuse(path: Path, problems: list[str]) -> None:
    """Raise CurateError with the first problems and the count of all, if there are any."""
    if problems:
        more = f"\n… and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CurateError(
            f"{path}: {len(problems)} bad row{'s' if len(problems) > 1 else ''}, nothing was read\n"
            + "\n".join(problems[:SHOWN])
            + more,
            hint="mend or remove these rows: a figure over the rest would not be the benchmark's",
        )


def listed(columns: frozenset[str]) -> str:
    return ", ".join(sorted(columns)) or "none"


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CurateError(f"{path}: not JSON: {error}") from error
    if not isinstance(rows, list):
        raise CurateError(f"{path}: holds a JSON {type(rows).__name__}; expected a list of objects")
    for number, row in enumerate(rows, start=1):
        yield number, row if isinstance(row, dict) else f"holds a JSON {type(row).__name__}; expected an object"


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            yield number, f"not JSON: {error}"
        else:
            yield number, row if isinstance(row, dict) else f"holds a JSON {type(row).__name__}; expected an object"


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise CurateError(f"{path}: not Parquet: {error}") from error
    yield from enumerate(table.to_pylist(), start=1)

"""Lists and objects as JSON text: how readers write them into a column of text and how they read them back.

Every column of a chunk is text. This module is the only place where nested values are encoded or decoded.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

T = TypeVar("T")

LIST = pl.List(pl.String)


def encode(value: Any) -> str | None:
    """Return a value as text: a list or object as JSON, None and the empty text as None."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def decode(value: Any) -> Any:
    """Return the list or object that a JSON text holds; any other value unchanged."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def decode_object(value: Any) -> dict[str, Any]:
    """Return the object that a value is or encodes; empty if it is not an object."""
    found = decode(value)
    return found if isinstance(found, dict) else {}


def decode_list(value: Any) -> list[Any]:
    """Return the list that a value is or encodes; empty if it is not a list."""
    found = decode(value)
    return found if isinstance(found, list) else []


def encode_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every column as text: numbers and times in their usual spelling, lists and structs as JSON."""
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
            except pl.exceptions.ComputeError:  # images and the like
                columns.append(column.bin.encode("hex"))
        else:
            columns.append(column.cast(pl.String))
    return pl.DataFrame(columns)


def query(sql: str, params: Sequence[Any] = (), **tables: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a DuckDB query over frames, for its functions on JSON text; rows keep their order.

    >>> frame = pl.DataFrame({"messages": ['[{"role": "user", "content": "a"}]']})
    >>> query("SELECT messages ->> '$[0].content' AS text FROM chunk", chunk=frame)["text"].item()
    'a'
    """
    with _database().cursor() as duck:
        for name, table in tables.items():
            duck.register(name, table.to_arrow())
        found: pl.DataFrame = duck.sql(sql, params=list(params)).pl()
        return found


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the process's database in memory, which reads no files."""
    return duckdb.connect(config={"enable_external_access": False, "threads": 2})


def decode_lines(text: bytes, count: int) -> pl.DataFrame:
    """Return ``count`` JSON objects, one per line, as columns of text; lists and objects stay JSON text.

    Raises PolarsError or JSONDecodeError if a line is not an object.
    """
    names = _keys(text)
    # Without keys polars would read a number as an object.
    frame = pl.read_ndjson(io.BytesIO(text), schema=dict.fromkeys(names, pl.String)) if names else pl.DataFrame()
    if frame.height != count:
        raise pl.exceptions.ComputeError("not one object per line")
    return frame


def _keys(text: bytes) -> list[str]:
    """Return the keys of all objects, in order of appearance."""
    try:
        return pl.read_ndjson(io.BytesIO(text), infer_schema_length=None).columns
    except (pl.exceptions.SchemaError, pl.exceptions.ComputeError):  # one key has values of different types
        objects: list[Any] = [json.loads(line) for line in text.splitlines()]
        return list(dict.fromkeys(key for item in objects if isinstance(item, dict) for key in item))


def decode_lists(text: pl.Series) -> pl.Series:
    """(n,) List of String: each JSON list with its items trimmed; null where a text is not a list."""
    positions = text.str.starts_with("[").fill_null(False).arg_true()
    source = text.gather(positions)

    def parse(lo: int, hi: int) -> pl.Series:
        return source.slice(lo, hi - lo).str.json_decode(LIST).list.eval(pl.element().str.strip_chars())

    pieces, bad = parse_by_halves(parse, 0, len(source), (pl.exceptions.PolarsError,))
    values = pl.concat(pieces) if pieces else pl.Series(dtype=LIST)
    found = pl.DataFrame({"row": np.delete(positions.to_numpy(), bad).astype(np.int64), "value": values})
    rows = pl.DataFrame({"row": np.arange(len(text))})
    return rows.join(found, on="row", how="left", maintain_order="left")["value"]


def parse_by_halves(
    parse: Callable[[int, int], T], lo: int, hi: int, failures: tuple[type[Exception], ...]
) -> tuple[list[T], npt.NDArray[np.int64]]:
    """Return (parsed pieces in order, positions that cannot be parsed) of the items lo … hi − 1.

    ``parse(lo, hi)`` parses a range or raises one of ``failures``. k bad items among n cost about k log₂ n calls.
    """
    if lo == hi:
        return [], np.empty(0, np.int64)
    try:
        return [parse(lo, hi)], np.empty(0, np.int64)
    except failures:
        if hi - lo == 1:
            return [], np.array([lo])
    middle = (lo + hi) // 2
    left, bad_left = parse_by_halves(parse, lo, middle, failures)
    right, bad_right = parse_by_halves(parse, middle, hi, failures)
    return left + right, np.concatenate([bad_left, bad_right])

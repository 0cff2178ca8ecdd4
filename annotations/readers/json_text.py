"""Lists and objects as JSON text: how readers write them into a column of text and how they read them back.

Every column of a chunk is text. This module is the only place where nested values are encoded or decoded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from schemas.errors import CurateError

Mask = npt.NDArray[np.bool_]

LIST = pl.List(pl.String)

MAX_KEYS = 4096
"""Different keys of the JSON records of one block."""
MAX_CELLS = 1 << 24
"""Values that are extracted at a time."""

_MACROS = """
CREATE MACRO items(text) AS CASE WHEN starts_with(text, '[') THEN coalesce(TRY(from_json(text, '["JSON"]')), [])
                                 ELSE [] END;
CREATE MACRO objects(text) AS list_filter(items(text), lambda item: json_type(item) = 'OBJECT');
CREATE MACRO entries(text) AS CASE WHEN starts_with(text, '{') THEN TRY(from_json(text, '"MAP(VARCHAR, JSON)"')) END;
CREATE MACRO string(value) AS CASE json_type(value) WHEN 'VARCHAR' THEN value ->> '$' END;
"""
"""What platform readers share: the items of a JSON list (none if the text is not one), those that are objects; the
map of a JSON object; the text that a JSON value is, else null."""

_KEYS = """
SELECT keys, coalesce(CASE WHEN len(keys) = 0 THEN json_type(text) = 'OBJECT' ELSE keys IS NOT NULL END, false)
    AS is_object
FROM (SELECT text, TRY(json_keys(text)) AS keys FROM chunk)
"""


def pointer(path: str) -> str:
    """Return keys that are joined by dots as a JSON pointer.

    >>> pointer("data.items")
    '/data/items'
    """
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path.split("."))


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
        except (ValueError, RecursionError):  # no JSON, an integer of thousands of digits, or nested too deeply
            return value
    return value


def encode_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every column as text: numbers and times in their usual spelling, lists and structs as JSON.

    Raises CurateError for a type that has no text.
    """
    return pl.DataFrame([_encoded(column) for column in frame])


def _encoded(column: pl.Series) -> pl.Series:
    try:
        if column.dtype.is_nested():
            return query("SELECT to_json(v)::VARCHAR AS v FROM chunk", chunk=pl.DataFrame({"v": column}))["v"].alias(
                column.name
            )
        if column.dtype == pl.Binary:
            try:
                return column.cast(pl.String)
            except pl.exceptions.ComputeError:  # images and the like
                return column.bin.encode("hex")
        return column.cast(pl.String)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, duckdb.Error) as error:
        raise CurateError(
            f"column {column.name!r} of type {column.dtype} cannot be read as text",
            hint="remove the column, or convert it to numbers, text, times, or lists and structs of these",
        ) from error


def query(sql: str, params: Sequence[Any] = (), **tables: pl.DataFrame | pa.Table) -> pl.DataFrame:
    """Return the rows of a DuckDB query over frames, for its functions on JSON text; rows keep their order.

    Beside DuckDB's functions there are items(text), objects(text), entries(text) and string(value).

    >>> frame = pl.DataFrame({"messages": ['[{"role": "user", "content": "a"}]']})
    >>> query("SELECT messages ->> '$[0].content' AS text FROM chunk", chunk=frame)["text"].item()
    'a'
    """
    with _database().cursor() as duck:
        for name, table in tables.items():
            duck.register(name, table.to_arrow() if isinstance(table, pl.DataFrame) else table)
        found: pl.DataFrame = duck.sql(sql, params=list(params)).pl()
        return found


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the process's database in memory, which reads no files."""
    duck = duckdb.connect(config={"enable_external_access": False, "threads": 2})
    duck.execute(_MACROS)
    return duck


def is_json(texts: Sequence[str]) -> list[bool]:
    """Return for each text whether it is one JSON value."""
    chunk = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    return query("SELECT json_valid(text) AS v FROM chunk", chunk=chunk)["v"].to_list()


def read_objects(text: pa.Array) -> tuple[pl.DataFrame, Mask, Mask]:
    """Return (columns, which of the n texts are JSON objects, which of those repeat a key).

    A column for each key holds its values as text, byte for byte; lists and objects stay JSON text. It has a row for
    each object that repeats no key.
    """
    found = query(_KEYS, chunk=pa.table({"text": text}))
    is_object = found["is_object"].to_numpy()
    keys = found["keys"]
    repeats = is_object & (keys.list.n_unique() < keys.list.len()).fill_null(False).to_numpy()
    good = is_object & ~repeats
    names = keys.filter(good).explode(empty_as_null=False).unique(maintain_order=True).to_list()
    if len(names) > MAX_KEYS:
        raise CurateError(
            f"{len(names)} different keys in {len(text)} JSON records; expected at most {MAX_KEYS}",
            hint="put what differs from record to record into one object or list",
        )
    if not names:
        return pl.DataFrame(height=int(good.sum())), is_object, repeats
    wanted = text if good.all() else text.filter(pa.array(good))
    step = max(1, MAX_CELLS // len(names))
    pieces = [_columns(wanted.slice(at, step), names) for at in range(0, len(wanted), step)]
    return pl.concat(pieces), is_object, repeats


def spread(text: pl.Series) -> pl.DataFrame:
    """(n, keys) the values of n JSON objects as columns of text; null where a text is no object or repeats a key."""
    frame, is_object, repeats = read_objects(text.to_arrow())
    good = pl.Series(is_object & ~repeats)
    if not frame.width:
        return pl.DataFrame(height=len(text))
    place = pl.select(pl.when(good).then(good.cum_sum() - 1)).to_series()
    return frame if good.all() else frame.select(pl.all().gather(place))


def _columns(text: pa.Array, names: list[str]) -> pl.DataFrame:
    """Return the values of these keys in each JSON object as columns of text."""
    pointers = ["/" + name.replace("~", "~0").replace("/", "~1") for name in names]
    values = query("SELECT json_extract_string(text, ?) AS v FROM chunk", [pointers], chunk=pa.table({"text": text}))
    flat = values["v"].explode()
    return pl.DataFrame({name: flat.gather_every(len(names), place) for place, name in enumerate(names)})


def decode_lists(text: pl.Series) -> pl.Series:
    """(n,) List of String: each JSON list with its items trimmed; null where a text is not a list."""
    sql = """SELECT CASE WHEN starts_with(text, '[') THEN TRY(from_json(text, '["VARCHAR"]')) END AS v FROM chunk"""
    lists = query(sql, chunk=pl.DataFrame({"text": text.cast(pl.String)}))["v"]
    return lists.cast(LIST).list.eval(pl.element().str.strip_chars())

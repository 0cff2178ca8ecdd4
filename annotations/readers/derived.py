"""Fields that are computed from columns: constants, joined and split columns, digests of texts, lists, outcomes.

A layout names one column per field. Where a field is no column of the file, a derived column is added to the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from annotations.readers.json_text import pointer, query
from schemas.mapping import Constant, Digest, Joined, ListOf, Melt, Part, Scale, Source
from schemas.votes import normalized

LONG = 200
"""A value with more characters is a text, whose digest serves as an id; one with a line break is a text, too."""
TEXT = rf"\n|(?s)^.{{{LONG + 1}}}"
"""The pattern of a text."""
DIGEST = 12
"""Hexadecimal characters of a digest: 48 bits."""
FIRST, SECOND, TIE = "left", "right", "tie"
"""What a derived outcome holds."""


class UnknownColumn(Exception):
    """A source names a column that the file does not have."""


def parse_source(source: Source, present: Sequence[str]) -> Source | None:
    """Return the source with its columns as the file spells them; None if it is empty (the field is disabled).

    A text is a column, else ``'constant'``, ``column+column`` or ``column.key``. Raises UnknownColumn.
    """
    if isinstance(source, Joined):
        return source.model_copy(update={"concat": tuple(find(name, present) for name in source.concat)})
    if isinstance(source, ListOf):
        return source.model_copy(update={"list": tuple(find(name, present) for name in source.list)})
    if isinstance(source, Part):
        return source.model_copy(update={"split": find(source.split, present)})
    if isinstance(source, Digest):
        return source.model_copy(update={"hash": find(source.hash, present)})
    if isinstance(source, Constant) or not source:
        return source or None
    if source in present:
        return source
    if len(source) > 2 and source[0] == source[-1] == "'":
        return Constant(const=source[1:-1])
    try:
        return find(source, present)
    except UnknownColumn:
        if "+" in source:
            return Joined(concat=tuple(find(name.strip(), present) for name in source.split("+")))
        raise


def find(name: str, present: Sequence[str]) -> str:
    """Return a column as the file spells it, also a key ``column.key`` of a column of objects. Raises UnknownColumn."""
    if name in present:
        return name
    alike = [column for column in present if column.lower() == name.lower()]
    alike = alike or [column for column in present if normalized(column) == normalized(name)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise UnknownColumn(f"{name!r} could be {' or '.join(map(repr, alike))}; spell it as in the file")
    owner = next((column for column in present if name.startswith(f"{column}.")), None)
    if owner is None:
        raise UnknownColumn(f"no column {name!r}; the columns are {', '.join(present)}")
    return name


def label(source: Source) -> str:
    """Return a source in words, for reports and as the name of the derived column."""
    if isinstance(source, Constant):
        return f"'{source.const}'"
    if isinstance(source, Joined):
        return "+".join(source.concat)
    if isinstance(source, Part):
        return f"part {source.part} of {source.split}"
    if isinstance(source, Digest):
        return f"digest of {source.hash}"
    if isinstance(source, ListOf):
        return f"list of {', '.join(source.list)}"
    return source


def columns_of(source: Source) -> tuple[str, ...]:
    """Return the columns that a source reads."""
    if isinstance(source, Constant):
        return ()
    if isinstance(source, Joined):
        return source.concat
    if isinstance(source, ListOf):
        return source.list
    return (source.split if isinstance(source, Part) else source.hash if isinstance(source, Digest) else source,)


def values(source: Source, frame: pl.DataFrame) -> pl.Series:
    """Return (n,) the texts of a source; null where a column is absent or empty."""
    columns = [_column(name, frame) for name in columns_of(source)]
    data = pl.DataFrame({str(i): column for i, column in enumerate(columns)})
    if isinstance(source, Constant):
        return pl.Series([source.const], dtype=pl.String).new_from_index(0, frame.height)
    if isinstance(source, Joined):
        return data.select(pl.concat_str(pl.all(), separator=source.sep)).to_series()
    if isinstance(source, Part):
        parts = pl.col("0").str.split(source.by).list.get(source.part - 1, null_on_oob=True)
        return data.select(parts).to_series()
    if isinstance(source, Digest):
        return digests(columns[0])
    if isinstance(source, ListOf):
        listed = ", ".join(f'"{i}"' for i in range(len(columns)))
        return query(f"SELECT to_json([{listed}])::VARCHAR AS v FROM data", data=data)["v"]
    return columns[0]


def _column(name: str, frame: pl.DataFrame) -> pl.Series:
    if name in frame.columns:
        return frame[name]
    owner = next((column for column in frame.columns if name.startswith(f"{column}.")), None)
    if owner is None:
        return pl.Series(name, [None], pl.String).new_from_index(0, frame.height)
    found = "CASE WHEN json_valid(v) THEN json_extract_string(v, ?) END"
    data = frame.select(pl.col(owner).alias("v"))
    return query(f"SELECT {found} AS v FROM data", [pointer(name.removeprefix(f"{owner}."))], data=data)["v"]


def digests(texts: pl.Series) -> pl.Series:
    """Return (n,) the first characters of the SHA-256 of each text."""
    return query(f"SELECT sha256(v)[:{DIGEST}] AS v FROM data", data=texts.alias("v").to_frame())["v"]


def is_text(column: pl.Series) -> pl.Series:
    """Return (n,) whether each value is a text, not an id."""
    return column.str.contains(TEXT)


def short_ids(column: pl.Series) -> pl.Series:
    """Return (n,) the values as ids: a long text becomes its digest."""
    texts = (column.str.strip_chars().str.len_chars() > LONG).fill_null(False)
    if not texts.any():
        return column
    return column.clone().scatter(texts.arg_true(), digests(column.filter(texts).str.strip_chars()))


def outcome_from_scale(column: pl.Series, scale: Scale) -> pl.Series:
    """Return (n,) left, right or tie of a number between two ends; another value unchanged."""
    cut, low, high = (scale.first + scale.second) / 2, *sorted((scale.first, scale.second))
    value = pl.col("v").cast(pl.Float64, strict=False)
    toward_second = (value - cut) * (1 if scale.second > scale.first else -1)
    outcome = (
        pl.when(~value.is_between(low, high).fill_null(False))
        .then(pl.col("v"))
        .when(toward_second.abs() <= scale.tie_within)
        .then(pl.lit(TIE))
        .otherwise(pl.when(toward_second > 0).then(pl.lit(SECOND)).otherwise(pl.lit(FIRST)))
    )
    return column.alias("v").to_frame().select(outcome).to_series()


def outcome_from_numbers(first: pl.Series, second: pl.Series, *, higher_is_better: bool) -> pl.Series:
    """Return (n,) left, right or tie of two ranks or two scores; where one is no number, both as text."""
    a, b = (pl.col(name).cast(pl.Float64, strict=False) for name in "ab")
    known = (a.is_finite() & b.is_finite()).fill_null(False)
    wins = a > b if higher_is_better else a < b
    outcome = (
        pl.when(pl.all_horizontal(pl.col("a", "b").is_null()))
        .then(None)
        .when(~known)
        .then(pl.format("{} and {}", pl.col("a").fill_null(""), pl.col("b").fill_null("")))
        .when(a == b)
        .then(pl.lit(TIE))
        .otherwise(pl.when(wins).then(pl.lit(FIRST)).otherwise(pl.lit(SECOND)))
    )
    return pl.DataFrame({"a": first, "b": second}).select(outcome).to_series()


def melted(frame: pl.DataFrame, lines: pl.Series, melt: Melt, outcome: str) -> tuple[pl.DataFrame, pl.Series, int]:
    """Return (one row per row and column of outcomes, their numbers, empty cells).

    A row gets the name of its column in a column of the melted field's name. Judgments are numbered through:
    (line - 1) * columns + place.
    """
    columns = [name for name in melt.columns if name in frame.columns]
    kept = frame.drop(columns)
    pieces = [
        kept.with_columns(
            frame[name].alias(outcome),
            pl.lit(name).alias(melt.into),
            ((lines - 1) * len(melt.columns) + place).alias("\0line"),
        )
        for place, name in enumerate(columns, start=1)
    ]
    rows = pl.concat(pieces).sort("\0line")
    given = rows.filter(pl.col(outcome).str.strip_chars().fill_null("") != "")
    return given.drop("\0line"), given["\0line"].alias("line"), rows.height - given.height


def ranks_from_scores(scores: pl.Series) -> pl.Series:
    """Return (n,) JSON lists of ranks (1 = best) of JSON lists of scores (higher is better); others unchanged."""
    numbers = "TRY(from_json(v, '[\"DOUBLE\"]'))"
    ranks = "to_json(list_transform(s, lambda x: 1 + len(list_filter(s, lambda y: y > x))))::VARCHAR"
    unknown = "s IS NULL OR len(list_filter(s, lambda x: x IS NULL)) > 0"
    data = scores.alias("v").to_frame()
    sql = f"SELECT CASE WHEN {unknown} THEN v ELSE {ranks} END AS v FROM (SELECT v, {numbers} AS s FROM data)"
    return query(sql, data=data)["v"]


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return a name for a derived column that no column has."""
    while name in set(taken):
        name += "'"
    return name

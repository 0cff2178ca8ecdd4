"""K-wise rankings: one annotator ranks K responses; parsed from lists, checked, and expanded to pairs."""

from __future__ import annotations

import polars as pl

from annotations.readers.json_text import decode_lists


def read_rankings(raw: pl.DataFrame) -> pl.DataFrame:
    """Add ``judged`` (responses), ``ranks`` (1 = best), ``fault`` (what is wrong, or null) and ``ranking`` (text).

    With a column ``responses``, ``rankings`` holds their ranks or the responses in order, best first; without one it
    holds the order.
    """
    raw = raw.with_columns(decode_lists(raw["responses"]).alias("names"), decode_lists(raw["rankings"]).alias("order"))
    numbers = _numbers("order")
    numeric = (
        pl.col("names").is_not_null()
        & (pl.col("names").list.len() == pl.col("order").list.len())
        & ~numbers.list.eval(pl.element().is_null()).list.any()
    ).fill_null(False)
    named = (pl.col("order").list.set_intersection("names").list.len() > 0).fill_null(False)
    is_ranks = numeric & ~named
    raw = raw.with_columns(
        pl.when(is_ranks).then(numbers).alias("ranks"), is_ranks.alias("is_ranks"), (numeric & named).alias("ambiguous")
    )
    by_order = pl.int_ranges(1, pl.col("order").list.len() + 1, dtype=pl.Int32)
    raw = raw.with_columns(
        pl.when("is_ranks").then("names").otherwise("order").alias("judged"),
        pl.when("is_ranks").then("ranks").otherwise(by_order).alias("ranks"),
    )
    return raw.with_columns(_fault().alias("fault"), _canonical().alias("ranking"))


def expand_rankings(rows: pl.DataFrame) -> pl.DataFrame:
    """Return each pair of each row's responses: line, response_left, response_right, outcome (left, right or tie).

    Sides are not known; a pair has the order of the row's list.
    """
    long = rows.select("line", "judged", "ranks").explode("judged", "ranks")
    long = long.with_columns(pl.int_range(pl.len()).over("line").alias("place"))
    pairs = long.join(long, on="line", suffix="_right").filter(pl.col("place") < pl.col("place_right"))
    better, worse = pl.col("ranks") < pl.col("ranks_right"), pl.col("ranks") > pl.col("ranks_right")
    outcome = pl.when(better).then(pl.lit("left")).when(worse).then(pl.lit("right")).otherwise(pl.lit("tie"))
    return pairs.sort("line", "place", "place_right").select(
        "line",
        pl.col("judged").alias("response_left"),
        pl.col("judged_right").alias("response_right"),
        outcome.alias("outcome"),
    )


def _numbers(name: str) -> pl.Expr:
    """Return a list of texts as integers; null for a text that is not an integer."""
    number = pl.element().cast(pl.Float64, strict=False)
    whole = number.is_finite() & (number == number.round())
    return pl.col(name).list.eval(pl.when(whole).then(number.cast(pl.Int32, strict=False)))


def _fault() -> pl.Expr:
    """Return what is wrong with a ranking as text; null if nothing is."""
    judged, names = pl.col("judged"), pl.col("names")
    twice = judged.list.n_unique() < judged.list.len()
    empty = judged.list.eval(pl.element().is_null() | (pl.element().str.strip_chars() == "")).list.any()
    others = names.is_not_null() & (
        (judged.list.n_unique() != names.list.n_unique()) | (judged.list.set_difference("names").list.len() > 0)
    )
    low = pl.col("is_ranks") & (pl.col("ranks").list.min() < 1)
    return (
        pl.when(pl.col("order").is_null())
        .then(pl.lit("expected a JSON list of ranks, or of responses in order"))
        .when(pl.col("responses").is_not_null() & names.is_null())
        .then(pl.lit("expected the responses as a JSON list"))
        .when(names.is_null() & _numbers("order").list.drop_nulls().list.len().eq(pl.col("order").list.len()))
        .then(pl.lit("expected the responses beside their ranks"))
        .when("ambiguous")
        .then(pl.lit("the responses are named by numbers, which could also be ranks; use other names"))
        .when(empty)
        .then(pl.lit("a response or a rank is missing"))
        .when(others.fill_null(False))
        .then(pl.lit("its entries are neither one rank for each response nor the responses themselves"))
        .when(twice)
        .then(pl.lit("a response appears twice"))
        .when(judged.list.len() < 2)
        .then(pl.lit("fewer than two responses"))
        .when(low.fill_null(False))
        .then(pl.lit("ranks start at 1 = best"))
    )


def _canonical() -> pl.Expr:
    """Return the ranking as text: each response with its rank, in the order of the row."""
    parts = pl.struct("judged", "ranks").struct.json_encode()
    return pl.when(pl.col("judged").is_not_null()).then(parts)

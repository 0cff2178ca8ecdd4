"""K-wise judgments: one person ranks K responses; read as lists, checked, and expanded to pairs that share a row."""

from __future__ import annotations

import polars as pl

from annotations.readers.halving import parse_by_halves

LIST = pl.List(pl.String)


def read_rankings(raw: pl.DataFrame) -> pl.DataFrame:
    """Adds ``names`` (list of responses) and ``ranks`` (list of ranks, 1 = best), ``fault`` (what is wrong, or null)
    and ``ranking`` (the judgment as canonical text).

    ``rankings`` beside ``responses`` are ranks, or the responses in order, best first; alone they are the order.
    """
    raw = raw.with_columns(_lists(raw["responses"]).alias("names"), _lists(raw["rankings"]).alias("order"))
    numbers = _numbers("order")
    numeric = (
        pl.col("names").is_not_null()
        & (pl.col("names").list.len() == pl.col("order").list.len())
        & ~numbers.list.eval(pl.element().is_null()).list.any()
    ).fill_null(False)
    named = (pl.col("order").list.set_intersection("names").list.len() > 0).fill_null(False)
    is_ranks = numeric & ~named
    raw = raw.with_columns(
        pl.when(is_ranks).then(numbers).alias("ranks"), is_ranks.alias("is_ranks"), (numeric & named).alias("two_ways")
    )
    by_order = pl.int_ranges(1, pl.col("order").list.len() + 1, dtype=pl.Int32)
    raw = raw.with_columns(
        pl.when("is_ranks").then("names").otherwise("order").alias("judged"),
        pl.when("is_ranks").then("ranks").otherwise(by_order).alias("ranks"),
    )
    return raw.with_columns(_fault().alias("fault"), _canonical().alias("ranking"))


def expand_rankings(rows: pl.DataFrame) -> pl.DataFrame:
    """Every pair of each row's responses, once: line, response_left, response_right, outcome (left, right or tie).

    Sides are not known; the pair stands in the order of the row's list.
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
    """A list of texts as whole numbers; null where one is none."""
    return pl.col(name).list.eval(pl.element().cast(pl.Int32, strict=False))


def _fault() -> pl.Expr:
    """What is wrong with a ranking, in words; null where nothing is."""
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
        .then(pl.lit("the responses are not a JSON list"))
        .when(names.is_null() & _numbers("order").list.drop_nulls().list.len().eq(pl.col("order").list.len()))
        .then(pl.lit("numbers without the responses that they rank"))
        .when("two_ways")
        .then(pl.lit("the responses are named by numbers: ranks or names? name them otherwise"))
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
    """The judgment as text: each response with its rank, in the order of the row."""
    parts = pl.struct("judged", "ranks").struct.json_encode()
    return pl.when(pl.col("judged").is_not_null()).then(parts)


def _lists(text: pl.Series) -> pl.Series:
    """JSON lists as lists of text; null where a text is no list."""
    listed = text.str.starts_with("[").fill_null(False)
    at = listed.arg_true()
    source = text.gather(at)

    def parse(lo: int, hi: int) -> pl.Series:
        return source.slice(lo, hi - lo).str.json_decode(LIST).list.eval(pl.element().str.strip_chars())

    pieces, bad = parse_by_halves(parse, 0, len(source), (pl.exceptions.PolarsError,))
    good = at.to_frame().with_row_index("i").filter(~pl.col("i").is_in(bad.tolist())).to_series(1)
    values = pl.concat(pieces) if pieces else pl.Series(dtype=LIST)
    place = pl.DataFrame({"at": good.cast(pl.UInt32), "value": values})
    whole = pl.int_range(0, len(text), dtype=pl.UInt32, eager=True).alias("at").to_frame()
    return whole.join(place, on="at", how="left", maintain_order="left")["value"]

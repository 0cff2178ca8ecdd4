"""The rules of a vote, on whole columns: every row of a chunk comes out clean or as a reject with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from annotations.readers.chunks import Chunk
from annotations.readers.columns import Layout
from annotations.readers.rankings import expand_rankings, read_rankings
from annotations.readers.times import parse_times
from schemas.votes import OUTCOMES

ROW_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "line": pl.Int64,
    "vote_id": pl.String,
    "prompt_id": pl.String,
    "response_left": pl.String,
    "response_right": pl.String,
    "outcome": pl.String,
    "sides_known": pl.Boolean,
    "annotator_id": pl.String,
    "voted_at": pl.Datetime("us"),
    "seconds": pl.Float64,
    "weight": pl.Float64,
    "ranking": pl.String,
    "question": pl.String,
    "video": pl.String,
    "model_left": pl.String,
    "model_right": pl.String,
    "text_left": pl.String,
    "text_right": pl.String,
    "meta": pl.String,
}
"""A clean row. ``ranking``: the whole judgment of a K-wise row as text, whose responses are in ``Clean.pairs``."""

CONTROL_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "line": pl.Int64,
    "vote_id": pl.String,
    "prompt_id": pl.String,
    "response_left": pl.String,
    "response_right": pl.String,
    "outcome": pl.String,
    "answer": pl.String,
    "sides_known": pl.Boolean,
    "annotator_id": pl.String,
    "voted_at": pl.Datetime("us"),
    "seconds": pl.Float64,
    "meta": pl.String,
}
"""A clean answer to a control question. ``answer``: the known outcome."""

PAIR_SCHEMA = {"line": pl.Int64, "response_left": pl.String, "response_right": pl.String, "outcome": pl.String}
REJECT_SCHEMA = {
    "line": pl.Int64,
    "column_name": pl.String,
    "value": pl.String,
    "reason": pl.String,
    "message": pl.String,
    "row": pl.String,
}

BESIDE = ("control", "reject", "reject_text")
"""What only readers of platforms say of a row: see annotations.platforms.base."""
OWN_REASON = ("reject", "reject_text")
LOCAL_SLACK = timedelta(hours=14)
"""A time without a zone may be local, and local time is at most 14 hours ahead of UTC."""
CLOCK_SLACK = timedelta(minutes=5)
MAX_WEIGHT = 1e6
"""Weights beyond this, either way, drown or are drowned: beside them the others cannot be computed with."""


@dataclass(frozen=True)
class Clean:
    """One chunk after the rules: rows + controls + rejects = the rows read."""

    rows: pl.DataFrame
    """ROW_SCHEMA."""
    pairs: pl.DataFrame
    """PAIR_SCHEMA: the pairs of the K-wise rows, by their line."""
    controls: pl.DataFrame
    """CONTROL_SCHEMA."""
    rejects: pl.DataFrame
    """REJECT_SCHEMA."""


@dataclass(frozen=True)
class Check:
    """One rule. ``fails`` is a boolean expression over the cleaned columns."""

    reason: str
    """A code of REJECT_REASONS; empty where the row brings its own."""
    field: str
    fails: pl.Expr
    message: str


def clean(chunk: Chunk, layout: Layout, now: datetime, *, meta: pl.Series | None = None) -> Clean:
    """Apply the rules to a chunk. ``now`` (naive UTC) bounds the votes' dates; meta: (n,) what else rows say."""
    raw = _named(chunk, layout)
    if meta is not None:
        raw = raw.with_columns(meta.alias("meta"))
    raw = read_rankings(raw) if layout.kind == "ranking" else _judged(raw, layout)
    raw = _measured(raw)
    checks = _checks(layout, now)
    failed = raw.select(
        pl.coalesce(pl.when(check.fails).then(pl.lit(i, pl.Int16)) for i, check in enumerate(checks))
    ).to_series()
    good = raw.filter(failed.is_null()) if failed.null_count() < len(failed) else raw
    rejects = [_broken(chunk), *(_rejected(chunk, raw, failed, i, check, layout) for i, check in enumerate(checks))]
    controls = pl.DataFrame(schema=CONTROL_SCHEMA)
    if "control" in layout.columns and layout.kind == "pair":
        controls = good.filter(pl.col("answer").is_not_null()).select(list(CONTROL_SCHEMA))
        good = good.filter(pl.col("answer").is_null())
    return Clean(
        rows=good.select(list(ROW_SCHEMA)),
        pairs=expand_rankings(good) if layout.kind == "ranking" else pl.DataFrame(schema=PAIR_SCHEMA),
        controls=controls,
        rejects=pl.concat(rejects).sort("line", maintain_order=True),
    )


def _named(chunk: Chunk, layout: Layout) -> pl.DataFrame:
    """The chunk's columns under their fields' names, trimmed, empty fields null, absent fields null throughout."""
    renamed = {"first": "response_left", "second": "response_right", "model_a": "model_left", "model_b": "model_right"}
    renamed |= {"text_a": "text_left", "text_b": "text_right"}
    columns = {renamed.get(name, name): column for name, column in layout.columns.items()}
    wanted = [*ROW_SCHEMA, "outcome", "responses", "rankings", *(name for name in BESIDE if name in layout.columns)]
    exprs = []
    for name in dict.fromkeys(wanted):
        if name in columns and columns[name] in chunk.frame.columns:
            text = pl.col(columns[name]).str.strip_chars()
            if name == "video":  # the trainer's JSONL lists its one video
                text = text.str.replace(r'^\["([^"\\]+)"\]$', "$1")
            exprs.append(pl.when(text != "").then(text).alias(name))
        elif name != "line":
            exprs.append(pl.lit(None, pl.String).alias(name))
    frame = chunk.frame.select(exprs) if chunk.frame.width else pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
    return frame.with_columns(chunk.line.alias("line"), pl.lit(layout.sides_known).alias("sides_known"))


def _judged(raw: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Adds the outcome: what its spelling says, or the side that it names; both where they disagree.

    The known outcome of a control question is read in the same way, as ``answer``.
    """
    outcome, two_ways = _outcome(raw, "outcome", layout)
    raw = raw.with_columns(
        pl.col("outcome").alias("outcome_text"), outcome.alias("outcome"), two_ways.alias("two_ways")
    )
    if "control" in layout.columns:
        answer, _ = _outcome(raw, "control", layout)
        raw = raw.with_columns(answer.alias("answer"))
    return raw


def _outcome(raw: pl.DataFrame, column: str, layout: Layout) -> tuple[pl.Expr, pl.Expr]:
    """(what a column says who won, whether it says it in two ways)."""
    value = pl.col(column)
    # Few values stand in the column, though many rows: each is looked up once.
    meaning = {word: layout.outcomes.get(word.lower()) for word in raw[column].drop_nulls().unique()}
    told = [word for word in meaning if word.lower() in layout.told]
    spelled = value.replace_strict(meaning, default=None, return_dtype=pl.String)
    is_left = (value == pl.col("response_left")) | (value == pl.col("model_left")).fill_null(False)
    is_right = (value == pl.col("response_right")) | (value == pl.col("model_right")).fill_null(False)
    named = pl.when(is_left & ~is_right).then(pl.lit("left")).when(is_right & ~is_left).then(pl.lit("right"))
    return pl.coalesce(spelled, named), ((spelled != named) & ~value.is_in(told)).fill_null(False)


def _measured(raw: pl.DataFrame) -> pl.DataFrame:
    """Adds times and numbers, keeping their texts beside them."""
    time, zoned = parse_times(raw["voted_at"])
    return raw.with_columns(
        pl.col("voted_at").alias("voted_at_text"),
        time.alias("voted_at"),
        zoned.alias("zoned"),
        pl.col("seconds").alias("seconds_text"),
        pl.col("seconds").cast(pl.Float64, strict=False),
        pl.col("weight").alias("weight_text"),
        pl.col("weight").fill_null("1").cast(pl.Float64, strict=False),
    )


def _checks(layout: Layout, now: datetime) -> list[Check]:
    """The rules in the order in which a row is held against them; the first that fails names the reject."""
    slack = pl.when("zoned").then(pl.lit(now + CLOCK_SLACK)).otherwise(pl.lit(now + LOCAL_SLACK))
    seconds, weight = pl.col("seconds"), pl.col("weight")
    bad_seconds = pl.col("seconds_text").is_not_null() & ~(seconds.is_finite() & (seconds >= 0)).fill_null(False)
    bad_weight = ~weight.is_between(1 / MAX_WEIGHT, MAX_WEIGHT).fill_null(False)
    future = (pl.col("voted_at") > slack).fill_null(False)
    bad_time = pl.col("voted_at_text").is_not_null() & pl.col("voted_at").is_null()
    common = [
        Check("bad-time", "voted_at", bad_time, "expected ISO 8601, or seconds or milliseconds since 1970"),
        Check(
            "future-vote",
            "voted_at",
            future,
            f"later than now ({now:%F %T} UTC)",
        ),
        Check("bad-seconds", "seconds", bad_seconds, "expected a number of seconds, 0 or more"),
        Check("bad-weight", "weight", bad_weight, f"expected a number from {1 / MAX_WEIGHT:g} to {MAX_WEIGHT:,.0f}"),
    ]
    own = [Check("", "reject", pl.col("reject").is_not_null(), "")] if "reject" in layout.columns else []
    no_prompt = Check("empty-id", "prompt_id", pl.col("prompt_id").is_null(), "the prompt has no id")
    if layout.kind == "ranking":
        return [
            *own,
            no_prompt,
            Check("bad-ranking", "rankings", pl.col("fault").is_not_null(), "see the row"),
            *common,
        ]
    same = pl.col("response_left") == pl.col("response_right")
    known = []
    if "control" in layout.columns:
        unread = pl.col("control").is_not_null() & pl.col("answer").is_null()
        known = [Check("unknown-outcome", "control", unread, f"expected {_expected(layout)}")]
    return [
        *own,
        no_prompt,
        Check("empty-id", "response_left", pl.col("response_left").is_null(), "the response has no id"),
        Check("empty-id", "response_right", pl.col("response_right").is_null(), "the response has no id"),
        Check("self-comparison", "response_right", same, "the response is compared with itself"),
        Check("ambiguous-outcome", "outcome", pl.col("two_ways"), "it names one response and spells the other side"),
        Check("unknown-outcome", "outcome", pl.col("outcome").is_null(), f"expected {_expected(layout)}"),
        *known,
        *common,
    ]


def _expected(layout: Layout) -> str:
    """The spellings that the file's layout understands, one an outcome, and the way to add one."""
    shown = {}
    for word, outcome in layout.outcomes.items():
        if outcome not in shown or word in layout.told:
            shown[outcome] = word
    listed = ", ".join(shown[outcome] for outcome in OUTCOMES if outcome in shown)
    return f"{listed}, or the name of a side; map others with --outcome VALUE=OUTCOME"


def _rejected(chunk: Chunk, raw: pl.DataFrame, failed: pl.Series, i: int, check: Check, layout: Layout) -> pl.DataFrame:
    """The rows that failed rule i first, as rejects."""
    at = (failed == i).fill_null(False).arg_true()
    if at.is_empty():
        return pl.DataFrame(schema=REJECT_SCHEMA)
    field = {"response_left": "first", "response_right": "second"}.get(check.field, check.field)
    column = layout.columns.get(field, field)
    rows = raw[at]
    as_read = chunk.frame[at].select(pl.struct(pl.exclude(*OWN_REASON)).struct.json_encode()).to_series().alias("row")
    if not check.reason:
        brought = rows.with_columns(
            as_read,
            pl.lit(None, pl.String).alias("column_name"),
            pl.lit(None, pl.String).alias("value"),
            pl.col("reject").alias("reason"),
            pl.col("reject_text").alias("message"),
        )
        return brought.select(list(REJECT_SCHEMA))
    text = check.field + "_text"
    value = rows[text] if text in rows.columns else rows[check.field] if check.field in rows.columns else None
    message = pl.lit(check.message) if check.reason != "bad-ranking" else pl.col("fault")
    held = pl.format("column '{}' holds '{}'; {}", pl.lit(column), pl.col("value").fill_null(""), message)
    return (
        rows.with_columns(
            pl.lit(column).alias("column_name"),
            (value if value is not None else pl.Series([None], dtype=pl.String)).alias("value"),
            as_read,
            pl.lit(check.reason).alias("reason"),
        )
        .with_columns(held.alias("message"))
        .select(list(REJECT_SCHEMA))
    )


def _broken(chunk: Chunk) -> pl.DataFrame:
    rows = [(b.line, None, None, b.reason, b.message, b.text) for b in chunk.broken]
    return pl.DataFrame(rows, schema=REJECT_SCHEMA, orient="row")

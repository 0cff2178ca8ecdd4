"""The rules of a vote, applied to whole columns: each row of a chunk becomes a clean row or a reject with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from annotations.readers.columns import PLATFORM_COLUMNS, REJECT_COLUMNS, Layout
from annotations.readers.derived import is_text, short_ids
from annotations.readers.formats import Chunk
from annotations.readers.rankings import expand_rankings, read_rankings
from annotations.readers.times import parse_times

TYPES = {
    "line": pl.Int64(),
    "sides_known": pl.Boolean(),
    "voted_at": pl.Datetime("us"),
    "seconds": pl.Float64(),
    "weight": pl.Float64(),
}
"""Column -> type; all other columns are text."""


def _schema(columns: str) -> dict[str, pl.DataType]:
    return {name: TYPES.get(name, pl.String()) for name in columns.split()}


ROW_SCHEMA = _schema(
    "line vote_id prompt_id response_left response_right outcome sides_known annotator_id voted_at seconds weight "
    "ranking criterion group_id question video category model_left model_right text_left text_right meta"
)
"""A clean row. ``ranking``: the whole judgment of a K-wise row as text; its pairs are in ``CleanRows.pairs``."""
CONTROL_SCHEMA = _schema(
    "line vote_id prompt_id response_left response_right outcome answer sides_known annotator_id voted_at seconds meta "
    "criterion"
)
"""A clean answer to a control question. ``answer``: the known outcome."""
PAIR_SCHEMA = _schema("line response_left response_right outcome")
REJECT_SCHEMA = _schema("line column_name value reason message row")

FIELD_COLUMNS = {
    "first": "response_left",
    "second": "response_right",
    "model_a": "model_left",
    "model_b": "model_right",
    "text_a": "text_left",
    "text_b": "text_right",
}
"""Field of a layout -> column of ROW_SCHEMA, where they differ."""
TEXT_COLUMNS = {"prompt_id": "question", "response_left": "text_left", "response_right": "text_right"}
"""Column of ids -> the column that keeps them if they are texts."""
UNTRIMMED = ("question", "text_left", "text_right")
"""Texts, which are training data; all other fields are trimmed."""
LOCAL_SLACK = timedelta(hours=14)
"""A time without a zone may be local, and local time is at most 14 hours ahead of UTC."""
CLOCK_SLACK = timedelta(minutes=5)
OPTIONAL = ("voted_at", "seconds")
"""Optional fields whose unreadable values become NULL; they say nothing about the judgment."""
MAX_WEIGHT = 1e6
"""Sums of weights beyond this, or below its inverse, lose the precision of the other votes."""


@dataclass(frozen=True)
class CleanRows:
    """One chunk after the rules: rows + controls + rejects = the rows read."""

    rows: pl.DataFrame
    """ROW_SCHEMA."""
    pairs: pl.DataFrame
    """PAIR_SCHEMA: the pairs of the K-wise rows, by their line."""
    controls: pl.DataFrame
    """CONTROL_SCHEMA."""
    rejects: pl.DataFrame
    """REJECT_SCHEMA."""
    unreadable: dict[str, int]
    """Field -> values that could not be read and are stored as NULL."""


@dataclass(frozen=True)
class Check:
    """One rule. ``fails`` is a boolean expression over the cleaned columns."""

    reason: str
    """A code of REJECT_REASONS; empty if the platform reader gave the reason."""
    field: str
    fails: pl.Expr
    message: str


def apply_rules(
    chunk: Chunk, layout: Layout, now: datetime, *, meta: pl.Series | None = None, time_format: str = ""
) -> CleanRows:
    """Return the clean rows and the rejects of a chunk.

    ``now``: naive UTC; later votes are rejected. ``meta``: (n,) the other columns of each row as JSON.
    """
    raw = _fields(chunk, layout)
    if meta is not None:
        raw = raw.with_columns(meta.alias("meta"))
    raw = read_rankings(raw) if layout.kind == "ranking" else _with_outcomes(raw, layout)
    raw = _with_numbers(raw, time_format)
    checks = _checks(layout, now)
    failed = raw.select(
        pl.coalesce(pl.when(check.fails).then(pl.lit(i, pl.Int16)) for i, check in enumerate(checks))
    ).to_series()
    good = raw.filter(failed.is_null()) if failed.null_count() < len(failed) else raw
    found = sorted(failed.drop_nulls().unique())  # the rules that some row fails
    rejects = [_broken(chunk), *(_rejected(chunk, raw, failed, i, checks[i], layout) for i in found)]
    controls = pl.DataFrame(schema=CONTROL_SCHEMA)
    if "control" in layout.columns and layout.kind == "pair":
        controls = good.filter(pl.col("answer").is_not_null()).select(list(CONTROL_SCHEMA))
        good = good.filter(pl.col("answer").is_null())
    return CleanRows(
        rows=good.select(list(ROW_SCHEMA)),
        pairs=expand_rankings(good) if layout.kind == "ranking" else pl.DataFrame(schema=PAIR_SCHEMA),
        controls=controls,
        rejects=pl.concat(rejects).sort("line", maintain_order=True),
        unreadable={name: count for name in OPTIONAL if (count := int(good[f"{name}_unreadable"].sum()))},
    )


def _fields(chunk: Chunk, layout: Layout) -> pl.DataFrame:
    """Return the chunk's columns under the names of their fields, ids trimmed; blank and absent fields are null."""
    columns = {FIELD_COLUMNS.get(name, name): column for name, column in layout.columns.items()}
    own = (name for name in PLATFORM_COLUMNS if name in layout.columns)
    wanted = dict.fromkeys([*ROW_SCHEMA, "outcome", "responses", "rankings", *own])
    exprs = []
    for name in wanted:
        if name in columns and columns[name] in chunk.frame.columns:
            text = pl.col(columns[name]).str.strip_chars()
            if name == "video":  # a list of one video, as in the trainer's JSONL
                text = text.str.replace(r'^\["([^"\\]+)"\]$', "$1")
            kept = pl.col(columns[name]) if name in UNTRIMMED else text
            exprs.append(pl.when(text != "").then(kept).alias(name))
        elif name != "line":
            exprs.append(pl.lit(None, pl.String).alias(name))
    frame = chunk.frame.select(exprs) if chunk.frame.width else pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
    frame = _shortened(frame, layout)
    return frame.with_columns(chunk.line.alias("line"), pl.lit(layout.sides_known).alias("sides_known"))


def _shortened(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Replace texts that serve as ids by their digests, and keep them as texts of responses or as questions."""
    for field in sorted(layout.text_ids):
        name = FIELD_COLUMNS.get(field, field)
        column = frame[name]
        if name in TEXT_COLUMNS:
            target = TEXT_COLUMNS[name]
            question = name == "prompt_id" and layout.prompts_may_be_questions
            text = column.str.contains(r"\s") if question else is_text(column)
            if text.any() and frame[target].null_count():
                kept = pl.when(text).then(pl.col(name))
                frame = frame.with_columns(pl.coalesce(target, kept).alias(target))
        frame = frame.with_columns(short_ids(column))
    return frame


def _with_outcomes(raw: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Add the outcome and whether it is ambiguous; for a control question also its known outcome as ``answer``."""
    outcome, ambiguous = layout.outcomes.read(raw, "outcome")
    raw = raw.with_columns(
        pl.col("outcome").alias("outcome_text"), outcome.alias("outcome"), ambiguous.alias("ambiguous")
    )
    if "control" in layout.columns:
        answer, _ = layout.outcomes.read(raw, "control")
        raw = raw.with_columns(answer.alias("answer"))
    return raw


def _with_numbers(raw: pl.DataFrame, time_format: str) -> pl.DataFrame:
    """Add times and numbers, which values of the optional ones cannot be read, and texts for messages."""
    time, zoned = parse_times(raw["voted_at"], time_format)
    seconds = pl.col("seconds").cast(pl.Float64, strict=False)
    seconds = pl.when(seconds.is_finite() & (seconds >= 0)).then(seconds)
    return raw.with_columns(
        pl.col("voted_at").alias("voted_at_text"),
        time.alias("voted_at"),
        zoned.alias("zoned"),
        (raw["voted_at"].is_not_null() & time.is_null()).alias("voted_at_unreadable"),
        seconds,
        (pl.col("seconds").is_not_null() & seconds.is_null()).alias("seconds_unreadable"),
        pl.col("weight").alias("weight_text"),
        pl.col("weight").fill_null("1").cast(pl.Float64, strict=False),
    )


def _checks(layout: Layout, now: datetime) -> list[Check]:
    """Return the rules in order; the first that fails gives the reason of the reject."""
    slack = pl.when("zoned").then(pl.lit(now + CLOCK_SLACK)).otherwise(pl.lit(now + LOCAL_SLACK))
    bad_weight = ~pl.col("weight").is_between(1 / MAX_WEIGHT, MAX_WEIGHT).fill_null(False)
    future = (pl.col("voted_at") > slack).fill_null(False)
    common = [
        Check("future-vote", "voted_at", future, f"expected a time before now ({now:%F %T} UTC)"),
        Check("bad-weight", "weight", bad_weight, f"expected a number from {1 / MAX_WEIGHT:g} to {MAX_WEIGHT:,.0f}"),
    ]
    own = [Check("", "reject", pl.col("reject").is_not_null(), "")] if "reject" in layout.columns else []
    no_prompt = Check("empty-id", "prompt_id", pl.col("prompt_id").is_null(), "expected the id of a prompt")
    if layout.kind == "ranking":
        return [
            *own,
            no_prompt,
            Check("bad-ranking", "rankings", pl.col("fault").is_not_null(), ""),
            *common,
        ]
    same = pl.col("response_left") == pl.col("response_right")
    known = []
    if "control" in layout.columns:
        unread = pl.col("control").is_not_null() & pl.col("answer").is_null()
        known = [Check("unknown-outcome", "control", unread, f"expected {layout.outcomes.expected()}")]
    return [
        *own,
        no_prompt,
        Check("empty-id", "response_left", pl.col("response_left").is_null(), "expected the id of a response"),
        Check("empty-id", "response_right", pl.col("response_right").is_null(), "expected the id of a response"),
        Check("self-comparison", "response_right", same, "expected another response than on the left"),
        Check("ambiguous-outcome", "outcome", pl.col("ambiguous"), "it names one response and the other side"),
        Check("unknown-outcome", "outcome", pl.col("outcome").is_null(), f"expected {layout.outcomes.expected()}"),
        *known,
        *common,
    ]


def _rejected(chunk: Chunk, raw: pl.DataFrame, failed: pl.Series, i: int, check: Check, layout: Layout) -> pl.DataFrame:
    """Return the rows whose first failed rule is rule i, as rejects."""
    at = (failed == i).fill_null(False).arg_true()
    ours = (*REJECT_COLUMNS, *(derived.column for derived in layout.derived))
    original = chunk.frame[at].select(pl.struct(pl.exclude(*ours)).struct.json_encode()).to_series()
    nothing = pl.lit(None, pl.String)
    if check.reason:
        field = {"response_left": "first", "response_right": "second"}.get(check.field, check.field)
        column = pl.lit(layout.columns.get(field, field))
        texts = [name for name in (f"{check.field}_text", check.field) if name in raw.columns]
        value = pl.col(texts[0]) if texts else nothing
        fault = pl.lit(check.message) if check.message else pl.col("fault")
        message = pl.format("column '{}' holds '{}'; {}", column, value.fill_null(""), fault)
        cells = {"column_name": column, "value": value, "reason": pl.lit(check.reason), "message": message}
    else:
        reasons = {"reason": pl.col("reject"), "message": pl.col("reject_text")}
        cells = {"column_name": nothing, "value": nothing, **reasons}
    return raw[at].select("line", **cells).with_columns(original.alias("row")).select(list(REJECT_SCHEMA))


def _broken(chunk: Chunk) -> pl.DataFrame:
    """Return the records that could not be read, as rejects."""
    rows = [(b.line, None, None, b.reason, b.message, b.text) for b in chunk.broken]
    return pl.DataFrame(rows, schema=REJECT_SCHEMA, orient="row")

"""Votes from a DataFrame: columns found by name, outcomes checked, ids numbered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.votes.arrays import VoteArrays
from schemas.errors import CurateError
from schemas.votes import ALL_LETTER_WORDS, LETTER_WORDS, OUTCOMES, VOTE_FIELDS, outcome_words

ALIASES = {field.name: field.aliases for field in VOTE_FIELDS}
PAIRS = (("left", "right"), ("response_a", "response_b"), ("model_a", "model_b"))
"""Fields that can hold the two responses; the first pair that the table has is used."""


@dataclass(frozen=True)
class Columns:
    """Which column holds what; None where the table has none."""

    prompt: str | None
    left: str
    right: str
    winner: str
    annotator: str | None
    weight: str | None
    sides_known: bool
    """Whether left and right are the sides on the screen."""


def as_frame(votes: Any) -> pl.DataFrame:
    """The votes as a polars DataFrame.

    Parameters
    ----------
    votes
        A polars DataFrame or LazyFrame, a pandas DataFrame, a pyarrow Table, any object with the Arrow C stream
        interface, or a dict of columns.

    Raises
    ------
    CurateError
        Where it is none of these.
    """
    if isinstance(votes, pl.LazyFrame):
        return votes.collect()
    if isinstance(votes, pl.DataFrame):
        return votes
    if isinstance(votes, dict) or hasattr(votes, "__arrow_c_stream__"):
        return pl.DataFrame(votes)
    raise CurateError(
        f"votes is a {type(votes).__name__}, not a table",
        hint="give a polars or pandas DataFrame, a pyarrow Table, or a dict of columns",
    )


def find_columns(
    frame: pl.DataFrame,
    *,
    prompt: str | None = None,
    left: str | None = None,
    right: str | None = None,
    winner: str | None = None,
    annotator: str | None = None,
    weight: str | None = None,
) -> Columns:
    """Return the columns of a table of votes: those named, else those with a well-known name (docs/data.md).

    Raises
    ------
    CurateError
        Where a named column is missing, no column holds the responses or the outcome, several could, or the votes are
        by several criteria.
    """
    for name in (prompt, left, right, winner, annotator, weight):
        if name is not None and name not in frame.columns:
            raise CurateError(f"no column {name!r}", hint=f"the table has {', '.join(frame.columns)}")
    if (left is None) != (right is None):
        raise CurateError("left and right must be given together", hint='for example left="model_a", right="model_b"')
    if left is None or right is None:
        left, right = _find_pair(frame)
    taken = {left, right, *filter(None, (prompt, winner, annotator, weight))}
    winner = winner or _find(frame, "outcome", taken)
    if winner is None:
        raise CurateError("no column holds the outcome", hint=f"give winner=; the table has {', '.join(frame.columns)}")
    taken.add(winner)
    _check_criterion(frame, taken)
    return Columns(
        prompt=prompt or _find_prompt(frame, taken),
        left=left,
        right=right,
        winner=winner,
        annotator=annotator or _find(frame, "annotator_id", taken),
        weight=weight or _find(frame, "weight", taken),
        sides_known=left.lower() in ALIASES["left"] and right.lower() in ALIASES["right"],
    )


def _find(frame: pl.DataFrame, field: str, taken: set[str]) -> str | None:
    """The column with a well-known name of the field; None where there is none. Raises CurateError for several."""
    found = [name for name in frame.columns if name.lower() in ALIASES[field] and name not in taken]
    if len(found) > 1:
        argument = {"prompt_id": "prompt", "annotator_id": "annotator", "outcome": "winner", "question": "prompt"}
        raise CurateError(
            f"several columns could be the {field}: {', '.join(found)}",
            hint=f'name one: {argument.get(field, field)}="{found[0]}"',
        )
    return found[0] if found else None


def _find_pair(frame: pl.DataFrame) -> tuple[str, str]:
    for first, second in PAIRS:
        one, other = _find(frame, first, set()), _find(frame, second, set())
        if one and other:
            _check_no_references(frame, one)
            return one, other
    raise CurateError(
        "no columns hold the two responses", hint=f"give left= and right=; the table has {', '.join(frame.columns)}"
    )


def _find_prompt(frame: pl.DataFrame, taken: set[str]) -> str | None:
    """The column of the prompt; None if all votes belong to one prompt.

    Raises CurateError if questions or videos vary but no column identifies the prompt: one question may be asked about
    several videos.
    """
    found = _find(frame, "prompt_id", taken)
    if found is None:
        found = next((name for name in frame.columns if name.lower() == "prompt" and name not in taken), None)
    parts = [name for name in frame.columns if name.lower() in {*ALIASES["question"], *ALIASES["video"]} - taken]
    if found is None and any(frame[name].n_unique() > 1 for name in parts):
        raise CurateError(
            f"no column identifies the prompt, but {' and '.join(parts)} may: one prompt is one video and one question",
            hint=f'name the column: prompt="{parts[0]}"',
        )
    return found


def _check_criterion(frame: pl.DataFrame, taken: set[str]) -> None:
    """Raise CurateError if the votes are by several criteria: a ranking of all together would mix them."""
    name = _find(frame, "criterion", taken)
    if name is None or frame[name].n_unique() < 2:
        return
    counts = (
        frame[name].cast(pl.String).fill_null("(none)").value_counts().sort("count", name, descending=[True, False])
    )
    shown = ", ".join(f"{value} ({count:,})" for value, count in counts.head(8).iter_rows())
    raise CurateError(
        f"column {name!r} holds {len(counts)} criteria (votes): {shown}",
        hint="rank the votes by one criterion at a time; drop the column if it holds something else",
    )


def _check_no_references(frame: pl.DataFrame, left: str) -> None:
    """Raise CurateError if the column of the left response only says in which other column the response is."""
    values = set(frame[left].drop_nulls().cast(pl.String).str.strip_chars().str.to_lowercase().unique())
    others = [name for name in frame.columns if name != left and name.lower() in ALIASES["model_a"]]
    if others and values and values <= ALL_LETTER_WORDS:
        raise CurateError(
            f"column {left!r} refers to other columns ({', '.join(sorted(values))})",
            hint="name the columns that hold the responses shown left and right: left=, right=",
        )


def vote_arrays(frame: pl.DataFrame, columns: Columns) -> VoteArrays:
    """Return the votes of a table as arrays, in the order of its rows.

    Ids are numbered by ``VoteArrays.from_columns``.

    Raises
    ------
    CurateError
        Names the first row that is no vote: an empty id, a response compared with itself, an unknown outcome, or a
        weight that is not positive.
    """
    if frame.is_empty():
        raise CurateError("the table has no votes", hint="give at least one row")
    ids = {name: getattr(columns, name) for name in ("prompt", "left", "right", "winner", "annotator")}
    text = frame.select(
        *(pl.col(column).cast(pl.String).str.strip_chars().alias(name) for name, column in ids.items() if column),
        *(pl.lit(None if name == "annotator" else "all", pl.String).alias(name) for name in ids if not ids[name]),
        (pl.col(columns.weight) if columns.weight else pl.lit(1.0)).cast(pl.Float64, strict=False).alias("weight"),
    ).with_columns(_outcome(columns).alias("outcome"), annotator=pl.col("annotator").replace("", None))
    _check(frame, text, columns)
    return VoteArrays.from_columns(
        prompt=text["prompt"],
        left=text["left"],
        right=text["right"],
        outcome=text["outcome"],
        annotator=text["annotator"],
        weight=text["weight"],
        sides_known=columns.sides_known,
    )


def _outcome(columns: Columns) -> pl.Expr:
    """The code of each row's outcome; null where it is unknown, −1 where it has two meanings."""
    letters = columns.left[-1].lower() if columns.left[-1].lower() in LETTER_WORDS else ""
    words = outcome_words(sides=True, letters=letters)
    words |= {columns.left.lower(): "left", columns.right.lower(): "right"}
    codes = {word: OUTCOMES.index(outcome) for word, outcome in words.items()}
    by_word = pl.col("winner").str.to_lowercase().replace_strict(codes, default=None, return_dtype=pl.Int32)
    by_name = (
        pl.when(pl.col("winner") == pl.col("left"))
        .then(OUTCOMES.index("left"))
        .when(pl.col("winner") == pl.col("right"))
        .then(OUTCOMES.index("right"))
    )
    return (
        pl.when(by_word.is_not_null() & by_name.is_not_null() & (by_word != by_name))
        .then(-1)
        .otherwise(pl.coalesce(by_name, by_word))
    )


def _check(frame: pl.DataFrame, text: pl.DataFrame, columns: Columns) -> None:
    """Raise CurateError for the first row that is no vote."""
    names = {"prompt": columns.prompt, "left": columns.left, "right": columns.right}
    for field, name in names.items():
        _stop(frame, text[field].is_null() | (text[field] == ""), name or field, "is empty", "drop such rows first")
    _stop(frame, text["left"] == text["right"], columns.right, "is the same response as on the other side", "drop it")
    expected = "expected left, right, tie, both_bad, or the name of one of the two responses"
    _stop(frame, text["outcome"].is_null(), columns.winner, f"is no outcome: {expected}", _counts(frame, columns))
    clash = "names one response and is a word for the other"
    _stop(frame, text["outcome"] == -1, columns.winner, clash, "rename the responses, or write left and right")
    bad_weight = text["weight"].is_null() | ~(text["weight"] > 0) | text["weight"].is_infinite()
    _stop(frame, bad_weight, columns.weight or "", "is not a positive number", "drop such rows, or correct them")


def _stop(frame: pl.DataFrame, bad: pl.Series, column: str, what: str, hint: str) -> None:
    rows = bad.arg_true()
    if len(rows):
        value = frame[column][int(rows[0])] if column in frame.columns else None
        more = f" (and {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
        raise CurateError(f"row {rows[0]}: column {column!r} holds {value!r}, which {what}{more}", hint=hint)


def _counts(frame: pl.DataFrame, columns: Columns) -> str:
    """The values of the outcome column with their counts, the most frequent first."""
    counts = frame[columns.winner].value_counts().sort("count", columns.winner, descending=[True, False])
    shown = ", ".join(f"{value!r} × {count:,}" for value, count in counts.head(8).iter_rows())
    return f"the column holds {shown}: map these values first, for example with Series.replace_strict"

"""The meaning of outcomes: which column or question holds the outcome, and which spelling is which outcome.

The spellings themselves are in ``schemas.votes``; readers infer what an outcome value means here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from schemas.errors import CurateError
from schemas.mapping import Mapping
from schemas.votes import (
    ALL_LETTER_WORDS,
    BOTH_BAD_WORDS,
    LEFT_WORDS,
    OUTCOMES,
    RIGHT_WORDS,
    TIE_WORDS,
    VOTE_FIELDS,
    outcome_words,
)

UNDECIDED_WORDS = frozenset({*TIE_WORDS, *BOTH_BAD_WORDS})
OUTCOME_NAMES = next(rule.aliases for rule in VOTE_FIELDS if rule.name == "outcome")


@dataclass(frozen=True)
class OutcomeWords:
    """The spellings of outcomes in one file."""

    meanings: dict[str, str] = field(default_factory=dict)
    """Spelling in lower case -> outcome; "left" is the first response of the pair."""
    mapped: frozenset[str] = frozenset()
    """Spellings from the mapping. They are never read as the name of a response."""

    def read(self, frame: pl.DataFrame, column: str) -> tuple[pl.Expr, pl.Expr]:
        """Return (the outcome that a column states, whether it states two different ones).

        A value is a known spelling, or the name of a response or model (frame columns response_left, model_left, …).
        """
        value = pl.col(column)
        # The column has few distinct values in many rows: each distinct value is looked up once.
        distinct = frame[column].drop_nulls().unique()
        meaning = {word: self.meanings.get(word.lower()) for word in distinct}
        mapped = [word for word in distinct if word.lower() in self.mapped]
        spelled = value.replace_strict(meaning, default=None, return_dtype=pl.String)
        is_left = (value == pl.col("response_left")) | (value == pl.col("model_left")).fill_null(False)
        is_right = (value == pl.col("response_right")) | (value == pl.col("model_right")).fill_null(False)
        named = pl.when(is_left & ~is_right).then(pl.lit("left")).when(is_right & ~is_left).then(pl.lit("right"))
        return pl.coalesce(spelled, named), ((spelled != named) & ~value.is_in(mapped)).fill_null(False)

    def expected(self) -> str:
        """Return one understood spelling per outcome, for messages."""
        shown: dict[str, str] = {}
        for word, outcome in self.meanings.items():
            if outcome not in shown or word in self.mapped:
                shown[outcome] = word
        listed = ", ".join(shown[outcome] for outcome in OUTCOMES if outcome in shown)
        return f"{listed}, or the name of a response; map other values with --outcome VALUE=OUTCOME"


def infer_outcomes(
    where: str, sample: pl.DataFrame, columns: dict[str, str], mapping: Mapping, *, by_side: bool
) -> OutcomeWords:
    """Return what the spellings in the outcome column mean.

    ``columns``: field -> column, with the responses under "first" and "second". ``by_side``: these columns are named
    left and right. Raises CurateError if the outcomes contradict the columns or if no value is understood.
    """
    letters = "" if by_side else columns["first"][-1:].lower()
    words = outcome_words(sides=by_side or mapping.sides == "shown", letters=letters)
    for value, outcome in mapping.outcomes.items():
        if outcome not in OUTCOMES:
            message = f"{where}: --outcome {value}={outcome}: unknown outcome"
            raise CurateError(message, hint=f"outcomes: {', '.join(OUTCOMES)}")
    mapped = {value.lower(): outcome for value, outcome in mapping.outcomes.items()}
    found = OutcomeWords({**words, **mapped}, frozenset(mapped))
    _check(where, sample, columns, found)
    return found


def outcome_question(names: Iterable[str]) -> str | None:
    """Return the question that holds the outcome: the only one, else the first with a well-known name; else None."""
    questions = list(dict.fromkeys(names))
    if len(questions) == 1:
        return questions[0]
    by_name = {name.lower(): name for name in reversed(questions)}
    return next((by_name[known] for known in OUTCOME_NAMES if known in by_name), None)


def is_undecided(answer: Any) -> bool:
    """Return whether an answer is a word for a tie or for both bad."""
    return isinstance(answer, str) and answer.strip().lower() in UNDECIDED_WORDS


def mapping_needed(where: str, sample: pl.DataFrame, problem: str, needed: str) -> CurateError:
    """Return the error for a file with several or no possible readings; ``needed``: the options that resolve it."""
    return CurateError(f"{where}: {problem} (columns: {', '.join(sample.columns)})", hint=f"needed: {needed}")


def _check(where: str, sample: pl.DataFrame, columns: dict[str, str], words: OutcomeWords) -> None:
    """Raise CurateError if the outcomes contradict the columns or if no value is understood."""
    column, first, second = (columns[name] for name in ("outcome", "first", "second"))
    value = sample[column].str.strip_chars()
    unmapped = set(value.drop_nulls().unique().str.to_lowercase()) - words.mapped - {""}
    names = pl.concat([sample[first], sample[second]]).drop_nulls().str.strip_chars().str.to_lowercase()
    unnamed = unmapped - set(names.unique())
    side_words = unnamed & {*LEFT_WORDS, *RIGHT_WORDS}
    if side_words and "left" not in words.meanings:
        listed = " and ".join(sorted(side_words))
        problem = f"column {column!r} holds {listed}, but no column states which response was shown left"
        raise mapping_needed(
            where, sample, problem, f"--map left={first} --map right={second}, if {first} was shown left"
        )
    letters = unnamed & (ALL_LETTER_WORDS - set(words.meanings))
    if letters:
        problem = f"column {column!r} holds {', '.join(sorted(letters))}, but the responses are named left and right"
        raise mapping_needed(where, sample, problem, f"--outcome {sorted(letters)[0]}=left and so on")
    others = sample.filter(value.is_not_null() & ~value.str.to_lowercase().is_in([*words.meanings, ""]))
    sides = [columns[name] for name in ("first", "second", "model_a", "model_b") if name in columns]
    is_name = pl.any_horizontal(pl.col(column).str.strip_chars() == pl.col(side).str.strip_chars() for side in sides)
    hits = int(others.select(is_name).to_series().sum())
    understood = not unmapped.isdisjoint(words.meanings)
    # A 0 or 1 that counts the sides may equal the name of a response now and then: names must match in the majority.
    if (0 < hits < others.height - hits) or (others.height and not hits and not understood):
        unread = others[column].str.strip_chars().unique().sort()
        shown = ", ".join(repr(v) for v in unread.head(6)) + (" and more" if len(unread) > 6 else "")
        example = " ".join(f"--outcome {v}={o}" for v, o in zip(unread.head(4), OUTCOMES, strict=False))
        problem = f"column {column!r} holds {shown}" + (", most of which name neither response" if hits else "")
        raise mapping_needed(where, sample, problem, f"the meaning of each value, for example {example}")

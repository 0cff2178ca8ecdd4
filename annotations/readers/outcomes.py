"""The meaning of outcomes: which column or question holds the outcome, and which spelling is which outcome.

The spellings themselves are in ``schemas.votes``; readers infer what an outcome value means here and nowhere else.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from schemas.mapping import Mapping
from schemas.votes import (
    ALL_LETTER_WORDS,
    BOTH_BAD_WORDS,
    LEFT_WORDS,
    LETTER_WORDS,
    OUTCOMES,
    RIGHT_WORDS,
    TIE_WORDS,
    VOTE_FIELDS,
    normalized,
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


MOST_UNMAPPED = 0.01
"""Where outcomes are mapped, the largest share of answers whose value has no meaning: such rows become rejects. More
refuse the file, since its mapping is incomplete."""
DERIVED_OUTCOMES = OutcomeWords({"left": "left", "right": "right", "tie": "tie"}, frozenset({"left", "right", "tie"}))
"""The spellings of an outcome that is computed from ranks, scores or a scale; the words never name a response."""


def infer_outcomes(
    sample: pl.DataFrame, columns: dict[str, str], mapping: Mapping, *, by_side: bool
) -> tuple[OutcomeWords, list[tuple[str, str]]]:
    """Return (what the spellings in the outcome column mean, problems as (text, fix)).

    ``columns``: field -> column of ``sample``, with the responses under "first" and "second". ``by_side``: these
    columns are named left and right. It is a problem if the outcomes contradict the columns, if no value is understood,
    and if the mapping is incomplete.
    """
    last = normalized(columns["first"])[-1:]
    letters = last if not by_side and (last in LETTER_WORDS or last.isdigit()) else ""
    words = outcome_words(sides=by_side or mapping.sides == "shown", letters=letters)
    words |= {columns[name].lower(): side for name, side in (("first", "left"), ("second", "right"))}
    problems = []
    for value, outcome in mapping.outcomes.items():
        if outcome == "?":
            problems.append((f"the mapping leaves the outcome {value!r} open (?)", f"--outcome {value}=OUTCOME"))
        elif outcome not in OUTCOMES:
            fix = f"one of the outcomes {', '.join(OUTCOMES)}"
            problems.append((f"--outcome {value}={outcome}: unknown outcome", fix))
    mapped = {value.strip().lower(): outcome for value, outcome in mapping.outcomes.items()}
    found = OutcomeWords({**words, **mapped}, frozenset(mapped))
    return found, problems or _problems(sample, columns, found)


def outcome_question(names: Iterable[str]) -> str | None:
    """Return the question that holds the outcome: the only one, else the first with a well-known name; else None."""
    questions = list(dict.fromkeys(names))
    if len(questions) == 1:
        return questions[0]
    by_name = {name.lower(): name for name in reversed(questions)}
    return next((by_name[known] for known in OUTCOME_NAMES if known in by_name), None)


def _problems(sample: pl.DataFrame, columns: dict[str, str], words: OutcomeWords) -> list[tuple[str, str]]:
    """Return how the outcomes contradict the columns, or that no value is understood, as (text, fix)."""
    column, first, second = (columns[name] for name in ("outcome", "first", "second"))
    value = sample[column].str.strip_chars()
    unmapped = set(value.drop_nulls().unique().str.to_lowercase()) - words.mapped - {""}
    names = pl.concat([sample[first], sample[second]]).drop_nulls().str.strip_chars().str.to_lowercase()
    unnamed = unmapped - set(names.unique())
    side_words = unnamed & {*LEFT_WORDS, *RIGHT_WORDS}
    if side_words and "left" not in words.meanings:
        listed = " and ".join(sorted(side_words))
        text = f"column {column!r} holds {listed}, but no column states which response was shown left"
        return [(text, f"--map left={first} --map right={second}, if {first} was shown left")]
    letters = unnamed & (ALL_LETTER_WORDS - set(words.meanings))
    if letters:
        text = f"column {column!r} holds {', '.join(sorted(letters))}, but the responses are named left and right"
        return [(text, f"--outcome {sorted(letters)[0]}=OUTCOME and so on")]
    others = sample.filter(value.is_not_null() & ~value.str.to_lowercase().is_in([*words.meanings, ""]))
    sides = [columns[name] for name in ("first", "second", "model_a", "model_b") if name in columns]
    is_name = pl.any_horizontal(pl.col(column).str.strip_chars() == pl.col(side).str.strip_chars() for side in sides)
    hits = int(others.select(is_name).to_series().sum())
    answered = sample.height - int((value.fill_null("") == "").sum())
    understood = not unmapped.isdisjoint(words.meanings) or others.height <= MOST_UNMAPPED * answered
    # A 0 or 1 that counts the sides may equal the name of a response now and then: names must match in the majority.
    if (0 < hits < others.height - hits) or (others.height and not hits and not understood):
        return [meaning_needed(column, others[column], "most of which name neither response" if hits else "")]
    return []


def meaning_needed(column: str, unread: pl.Series, remark: str = "") -> tuple[str, str]:
    """Return (text, fix) for values whose meaning only the user knows; never a guess of their meaning."""
    counts = unread.str.strip_chars().value_counts(sort=True, name="n").sort("n", unread.name, descending=[True, False])
    shown = [(value if len(value) <= 40 else value[:39] + "…", n) for value, n in counts.head(6).iter_rows()]
    listed = " ".join(f"{value}=? ({n:,})" for value, n in shown) + (" and more" if counts.height > 6 else "")
    numbers = counts[unread.name].cast(pl.Float64, strict=False).to_numpy()
    if len(numbers) > 6 and np.isfinite(numbers).all():
        ends = f"first = {numbers.min():g} or {numbers.max():g}"
        fix = f"the end at which the first response is better, in the mapping: [scale] {ends}, second = the other"
    else:
        fix = " ".join(f"--outcome {shlex.quote(value)}=OUTCOME" for value, _ in shown)
    return f"the values of column {column!r} have no known meaning: {listed}" + (f", {remark}" if remark else ""), fix

"""Which column is which: a file's layout, from the field's well-known names, the mapping and a look at its values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import polars as pl

from schemas.config import Mapping
from schemas.errors import CurateError
from schemas.votes import (
    BOTH_BAD_WORDS,
    LEFT_WORDS,
    LETTER_WORDS,
    OUTCOMES,
    RIGHT_WORDS,
    TIE_WORDS,
    VOTE_FIELDS,
    FieldRule,
)

ALL_LETTER_WORDS = frozenset(word for pair in LETTER_WORDS.values() for words in pair for word in words)

MODEL_NAMES = {rule.name: rule.aliases for rule in VOTE_FIELDS if rule.name in ("model_a", "model_b")}

LONG = 200
"""Characters past which a value is a text and not an id."""


@dataclass(frozen=True)
class Layout:
    """How the rows of one file are to be read."""

    kind: Literal["pair", "ranking"]
    columns: dict[str, str]
    """field -> column. A pair's responses are under "first" and "second", whatever their columns are called."""
    outcomes: dict[str, str]
    """spelling (lower case) -> outcome, "left" meaning the first response."""
    sides_known: bool
    """The first response is what was shown left."""
    told: frozenset[str] = frozenset()
    """Spellings that the mapping gave: they are never taken for a response's name."""

    def described(self) -> dict[str, str]:
        """field -> column, and the sides in words: for people."""
        first, second = ("left", "right") if self.sides_known else ("response_a", "response_b")
        names = {"first": first, "second": second}
        return {names.get(field, field): column for field, column in self.columns.items()}


def detect(where: str, sample: pl.DataFrame, mapping: Mapping) -> Layout:
    """The layout of a file of votes whose first rows are ``sample``.

    Raises CurateError where more than one reading is possible or none: it names the mapping that would settle it.
    """
    columns = find_columns(where, sample.columns, VOTE_FIELDS, mapping.columns)
    columns = _prompt_or_question(columns)
    pair = _pair(where, columns, sample)
    if pair is None:
        if "rankings" not in columns:
            needed = "--map left=COLUMN --map right=COLUMN; a file without votes is to be left out"
            raise _unclear(where, sample, "no columns that name two responses", needed)
        layout = Layout("ranking", _without(columns, "outcome"), {}, sides_known=False)
    else:
        layout = _pair_layout(where, sample, columns, pair, mapping)
    if "prompt_id" not in layout.columns:
        raise _unclear(where, sample, "no column that names the prompt", "--map prompt_id=COLUMN")
    return layout


def find_columns(
    where: str, present: Iterable[str], rules: Iterable[FieldRule], told: dict[str, str]
) -> dict[str, str]:
    """field -> column by the mapping first, then by well-known names; a field's own name beats its other names."""
    present = tuple(present)
    by_name: dict[str, list[str]] = {}
    for name in present:
        by_name.setdefault(name.lower(), []).append(name)
    rules = tuple(rules)
    fields = {rule.name for rule in rules}
    columns: dict[str, str] = {}
    for name, column in told.items():
        if name not in fields:
            raise CurateError(f"{where}: --map names no field {name!r}", hint=f"fields: {', '.join(sorted(fields))}")
        if not column:
            continue
        alike = by_name.get(column.lower(), [])
        if not alike:
            raise CurateError(f"{where}: no column {column!r}", hint=f"columns: {', '.join(present)}")
        if column not in alike and len(alike) > 1:
            raise CurateError(f"{where}: {column!r} could be {' or '.join(alike)}", hint="write it as the file does")
        columns[name] = column if column in alike else alike[0]
    taken = set(columns.values())
    free = {low: [name for name in alike if name not in taken] for low, alike in by_name.items()}
    for rule in rules:
        if rule.name in told:
            continue
        found = [free[alias] for alias in rule.aliases if free.get(alias)]
        names = found[0] if found and found[0][0].lower() == rule.name else list(chain.from_iterable(found))
        if len(names) > 1:
            options = " or ".join(f"--map {rule.name}={name}" for name in names)
            raise CurateError(f"{where}: {rule.name} could be {' or '.join(names)}", hint=f"say which: {options}")
        if names:
            columns[rule.name] = names[0]
    return columns


def _prompt_or_question(columns: dict[str, str]) -> dict[str, str]:
    """A column "prompt" is the question's text beside an id, and the id itself where there is no other."""
    if "prompt_id" not in columns and columns.get("question", "").lower() == "prompt":
        return {**_without(columns, "question"), "prompt_id": columns["question"]}
    return columns


def _pair(where: str, columns: dict[str, str], sample: pl.DataFrame) -> tuple[str, str] | None:
    """The two fields that name the responses of a pair."""
    sides, plain, models = (pair for pair in (("left", "right"), ("response_a", "response_b"), ("model_a", "model_b")))
    has = {pair: all(name in columns for name in pair) for pair in (sides, plain, models)}
    for pair in (sides, plain, models):
        if not has[pair] and any(name in columns for name in pair):
            one, other = sorted(pair, key=lambda name: name not in columns)
            message = f"{one} is column {columns[one]!r}, but no column is {other}"
            raise _unclear(where, sample, message, f"--map {other}=COLUMN, or --map {one}= to leave it out")
    if "rankings" in columns and any(has.values()):
        raise _unclear(where, sample, "both pairs and rankings", "--map rankings= or --map response_a= and the like")
    if has[sides] and has[plain]:
        message = f"{columns['left']}/{columns['right']} and {columns['response_a']}/{columns['response_b']}"
        raise _unclear(
            where, sample, f"two pairs of responses ({message})", "--map left= --map right= to leave one out"
        )
    if has[sides]:
        pointers = set(sample[columns["left"]].drop_nulls().str.strip_chars().str.to_lowercase().unique()) - {""}
        if has[models] and pointers and pointers <= ALL_LETTER_WORDS:
            message = f"column {columns['left']!r} points at other columns ({', '.join(sorted(pointers))})"
            raise _unclear(where, sample, message, "columns that hold the responses shown left and right themselves")
        return sides
    if has[plain] and has[models] and (_is_text(sample, columns["response_a"]) or _of_two_models(sample, columns)):
        a, b = columns["response_a"], columns["response_b"]
        needed = f"--map text_a={a} --map text_b={b} --map response_a={columns['model_a']} "
        needed += f"--map response_b={columns['model_b']}"
        raise _unclear(where, sample, f"column {a!r} holds texts, not ids of responses", needed)
    return plain if has[plain] else models if has[models] else None


def _pair_layout(
    where: str, sample: pl.DataFrame, columns: dict[str, str], pair: tuple[str, str], mapping: Mapping
) -> Layout:
    by_side = pair == ("left", "right")
    known = {"auto": by_side, "shown": True, "unknown": False}[mapping.sides]
    first, second = columns[pair[0]], columns[pair[1]]
    taken = ("left", "right", "response_a", "response_b", "rankings", "responses")
    fields = {"first": first, "second": second, **_without(columns, *taken)}
    if not {"model_a", "model_b"} & fields.keys():  # a response may be told to be the column of its model
        named = zip(("model_a", "model_b"), (first, second), strict=True)
        fields |= {field: column for field, column in named if column.lower() in MODEL_NAMES[field]}
    if by_side:  # columns of models beside left and right may stand in another order
        fields = _without(fields, "model_a", "model_b")
    if "outcome" not in columns:
        spread = [
            name for name in sample.columns if name.lower().startswith(("winner_", "vote_")) or name.endswith("vote")
        ]
        if len(spread) > 1:
            message = f"the outcome is spread over {', '.join(spread)}"
            raise _unclear(where, sample, message, "one column that says who won, in place of these")
        raise _unclear(where, sample, "no column that says who won", "--map outcome=COLUMN")
    words = _words(by_side or mapping.sides == "shown", letters="" if by_side else first[-1:].lower())
    outcomes = {**words, **_told_outcomes(where, mapping)}
    layout = Layout("pair", fields, outcomes, known, frozenset(value.lower() for value in mapping.outcomes))
    _check_outcomes(where, sample, layout)
    return layout


def _words(sides: bool, *, letters: str) -> dict[str, str]:
    """spelling -> outcome. letters: the last letter of the first response's column; empty for none at all."""
    words = dict.fromkeys(TIE_WORDS, "tie") | dict.fromkeys(BOTH_BAD_WORDS, "both_bad")
    if sides:
        words |= dict.fromkeys(LEFT_WORDS, "left") | dict.fromkeys(RIGHT_WORDS, "right")
    if letters:
        first, second = LETTER_WORDS.get(letters, LETTER_WORDS["a"])
        words |= dict.fromkeys(first, "left") | dict.fromkeys(second, "right")
    return words


def _told_outcomes(where: str, mapping: Mapping) -> dict[str, str]:
    for value, outcome in mapping.outcomes.items():
        if outcome not in OUTCOMES:
            raise CurateError(
                f"{where}: --outcome {value}={outcome}: no such outcome", hint=f"outcomes: {', '.join(OUTCOMES)}"
            )
    return {value.lower(): outcome for value, outcome in mapping.outcomes.items()}


def _check_outcomes(where: str, sample: pl.DataFrame, layout: Layout) -> None:
    """Refuse a file whose outcomes contradict its columns, or of which not one is understood."""
    column = layout.columns["outcome"]
    names = pl.concat([sample[layout.columns[side]] for side in ("first", "second")])
    value = sample[column].str.strip_chars()
    seen = value.drop_nulls().unique().sort()
    low = set(seen.str.to_lowercase()) - layout.told - {""}
    first, second = layout.columns["first"], layout.columns["second"]
    unnamed = low - set(names.drop_nulls().str.strip_chars().str.to_lowercase().unique())
    side_words = unnamed & {*LEFT_WORDS, *RIGHT_WORDS}
    if side_words and "left" not in layout.outcomes:
        message = f"column {column!r} says {' and '.join(sorted(side_words))}, but no column says what was shown left"
        raise _unclear(where, sample, message, f"--map left={first} --map right={second}, if {first} was shown left")
    letters = unnamed & (ALL_LETTER_WORDS - set(layout.outcomes))
    if letters:
        told = f"--outcome {sorted(letters)[0]}=left and so on"
        raise _unclear(where, sample, f"column {column!r} says {', '.join(sorted(letters))} beside left/right", told)
    others = sample.filter(value.is_not_null() & ~value.str.to_lowercase().is_in([*layout.outcomes, ""]))
    sides = [layout.columns[name] for name in ("first", "second", "model_a", "model_b") if name in layout.columns]
    own = others.select(
        pl.any_horizontal((pl.col(column).str.strip_chars() == pl.col(side).str.strip_chars()) for side in sides)
    )
    hits = int(own.to_series().sum())
    spelled = not low.isdisjoint(layout.outcomes)
    # A 0 or 1 that counts the sides may now and then be the name of one: names must fit more often than not.
    if (0 < hits < others.height - hits) or (others.height and not hits and not spelled):
        unread = others[column].str.strip_chars().unique().sort()
        shown = ", ".join(repr(v) for v in unread.head(6)) + (" and more" if len(unread) > 6 else "")
        told = " ".join(f"--outcome {v}={o}" for v, o in zip(unread.head(4), OUTCOMES, strict=False))
        what = f"column {column!r} holds {shown}, which mostly name neither side" if hits else ""
        what = what or f"column {column!r} holds {shown}"
        raise _unclear(where, sample, what, f"say what each means, for example {told}")


def _is_text(sample: pl.DataFrame, column: str) -> bool:
    values = sample[column]
    return bool((values.str.len_chars() > LONG).any() or values.str.contains("\n", literal=True).any())


def _of_two_models(sample: pl.DataFrame, columns: dict[str, str]) -> bool:
    """Whether some prompt has one response of two models: then it is no response's id, but what both of them said."""
    names = ("prompt_id", "response_{}", "model_{}")
    sides = [[name.format(side) for name in names] for side in "ab"]
    if "prompt_id" not in columns:
        return False
    both = pl.concat(
        sample.select(pl.col(columns[name]).alias(f"{i}") for i, name in enumerate(side)) for side in sides
    )
    return bool((both.group_by("0", "1").agg(pl.col("2").n_unique())["2"] > 1).any())


def _without(columns: dict[str, str], *names: str) -> dict[str, str]:
    return {name: column for name, column in columns.items() if name not in names}


def _unclear(where: str, sample: pl.DataFrame, what: str, needed: str) -> CurateError:
    return CurateError(f"{where}: {what} (columns: {', '.join(sample.columns)})", hint=f"needed: {needed}")

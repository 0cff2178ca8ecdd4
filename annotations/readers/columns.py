"""The layout of a vote file: which column holds which field, from the mapping, well-known names and the first rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

import polars as pl

from annotations.readers.outcomes import OutcomeWords, infer_outcomes, mapping_needed
from schemas.errors import CurateError
from schemas.mapping import Mapping, Source
from schemas.votes import ALL_LETTER_WORDS, VOTE_FIELDS, FieldRule

SIDES, PLAIN, MODELS = ("left", "right"), ("response_a", "response_b"), ("model_a", "model_b")
"""The fields that can name the two responses of a pair, in order of precedence."""
MODEL_NAMES = {rule.name: rule.aliases for rule in VOTE_FIELDS if rule.name in MODELS}
LONG = 200
"""A value with more characters is a text, not an id."""
REJECT_COLUMNS = ("reject", "reject_text")
PLATFORM_COLUMNS = ("control", *REJECT_COLUMNS)
"""Columns that only platform readers write: see annotations.platforms.base."""
MODELS_BY_SIDE = {"model_a": "model_left", "model_b": "model_right"}


@dataclass(frozen=True)
class Layout:
    """How to read the rows of one file."""

    kind: Literal["pair", "ranking"] = "pair"
    columns: dict[str, str] = field(default_factory=dict)
    """field -> column. The responses of a pair are under "first" and "second", whatever their columns are named."""
    outcomes: OutcomeWords = field(default_factory=OutcomeWords)
    sides_known: bool = False
    """The first response was shown left."""

    def described(self) -> dict[str, str]:
        """Return field -> column for reports: "first" is left or response_a."""
        first, second = SIDES if self.sides_known else PLAIN
        names = {"first": first, "second": second}
        return {names.get(name, name): column for name, column in self.columns.items() if name not in PLATFORM_COLUMNS}


def detect_layout(where: str, sample: pl.DataFrame, mapping: Mapping) -> Layout:
    """Return the layout of a vote file whose first rows are ``sample``.

    Raises CurateError if there is no possible layout or more than one; its hint names the mapping that resolves it.
    """
    columns = find_columns(where, sample.columns, VOTE_FIELDS, mapping.columns)
    columns = _prompt_or_question(columns)
    pair = _pair(where, columns, sample)
    if pair is None:
        if "rankings" not in columns:
            needed = "--map left=COLUMN --map right=COLUMN; omit a file without votes"
            raise mapping_needed(where, sample, "no columns that name two responses", needed)
        layout = Layout("ranking", _without(columns, "outcome"))
    else:
        layout = _pair_layout(where, sample, columns, pair, mapping)
    if "prompt_id" not in layout.columns:
        raise mapping_needed(where, sample, "no column that names the prompt", "--map prompt_id=COLUMN")
    return layout


def detect_platform_layout(where: str, sample: pl.DataFrame, mapping: Mapping) -> Layout:
    """Return the layout of rows from a platform reader, which also has PLATFORM_COLUMNS and the models by side."""
    own = [name for name in PLATFORM_COLUMNS if name in sample.columns]
    by_side = set(SIDES).issubset(sample.columns)
    models = {field: name for field, name in MODELS_BY_SIDE.items() if by_side and name in sample.columns}
    layout = detect_layout(where, sample.drop([*own, *models.values()]), mapping)
    columns = {name: name for name in own} | (models if layout.columns.get("first") == "left" else {})
    return replace(layout, columns={**layout.columns, **columns})


def find_columns(
    where: str, present: Iterable[str], rules: Iterable[FieldRule], mapped: dict[str, Source]
) -> dict[str, str]:
    """Return field -> column: first by the mapping, then by well-known names, of which the field's own name wins."""
    present, rules = tuple(present), tuple(rules)
    by_name: dict[str, list[str]] = {}
    for name in present:
        by_name.setdefault(name.lower(), []).append(name)
    columns = _mapped_columns(where, present, by_name, {rule.name for rule in rules}, mapped)
    taken = set(columns.values())
    free = {low: [name for name in alike if name not in taken] for low, alike in by_name.items()}
    for rule in rules:
        if rule.name in mapped:
            continue
        found = [free[alias] for alias in rule.aliases if free.get(alias)]
        names = found[0] if found and found[0][0].lower() == rule.name else list(chain.from_iterable(found))
        if len(names) > 1:
            options = " or ".join(f"--map {rule.name}={name}" for name in names)
            raise CurateError(f"{where}: {rule.name} could be {' or '.join(names)}", hint=f"choose one: {options}")
        if names:
            columns[rule.name] = names[0]
    return columns


def _mapped_columns(
    where: str, present: tuple[str, ...], by_name: dict[str, list[str]], fields: set[str], mapped: dict[str, Source]
) -> dict[str, str]:
    """Return field -> column of the mapping, as the file spells the columns; raise CurateError for unknown names."""
    columns: dict[str, str] = {}
    for name, column in mapped.items():
        if name not in fields:
            raise CurateError(f"{where}: --map {name}: unknown field", hint=f"fields: {', '.join(sorted(fields))}")
        if not column:
            continue
        alike = by_name.get(column.lower(), [])
        if not alike:
            raise CurateError(f"{where}: no column {column!r}", hint=f"columns: {', '.join(present)}")
        if column not in alike and len(alike) > 1:
            raise CurateError(f"{where}: {column!r} could be {' or '.join(alike)}", hint="spell it as in the file")
        columns[name] = column if column in alike else alike[0]
    return columns


def _prompt_or_question(columns: dict[str, str]) -> dict[str, str]:
    """A column "prompt" holds the question if another column holds the id; otherwise it is the id."""
    if "prompt_id" not in columns and columns.get("question", "").lower() == "prompt":
        return {**_without(columns, "question"), "prompt_id": columns["question"]}
    return columns


def _pair(where: str, columns: dict[str, str], sample: pl.DataFrame) -> tuple[str, str] | None:
    """Return the two fields that name the responses of a pair; None if no columns do."""
    has = {pair: all(name in columns for name in pair) for pair in (SIDES, PLAIN, MODELS)}
    for pair in (SIDES, PLAIN, MODELS):
        if not has[pair] and any(name in columns for name in pair):
            one, other = sorted(pair, key=lambda name: name not in columns)
            problem = f"{one} is column {columns[one]!r}, but no column is {other}"
            raise mapping_needed(where, sample, problem, f"--map {other}=COLUMN, or --map {one}= to ignore it")
    if "rankings" in columns and any(has.values()):
        needed = "--map rankings= or --map response_a= and so on, to ignore one"
        raise mapping_needed(where, sample, "both pairs and rankings", needed)
    if has[SIDES] and has[PLAIN]:
        pairs = f"{columns['left']}/{columns['right']} and {columns['response_a']}/{columns['response_b']}"
        needed = "--map left= --map right= to ignore one pair"
        raise mapping_needed(where, sample, f"two pairs of responses ({pairs})", needed)
    if has[SIDES]:
        values = set(sample[columns["left"]].drop_nulls().str.strip_chars().str.to_lowercase().unique()) - {""}
        if has[MODELS] and values and values <= ALL_LETTER_WORDS:
            problem = f"column {columns['left']!r} refers to other columns ({', '.join(sorted(values))})"
            needed = "columns that hold the responses shown left and right themselves"
            raise mapping_needed(where, sample, problem, needed)
        return SIDES
    if has[PLAIN] and has[MODELS] and (_is_text(sample, columns["response_a"]) or _shared_by_models(sample, columns)):
        a, b = columns["response_a"], columns["response_b"]
        needed = f"--map text_a={a} --map text_b={b} --map response_a={columns['model_a']} "
        needed += f"--map response_b={columns['model_b']}"
        raise mapping_needed(where, sample, f"column {a!r} holds texts, not ids of responses", needed)
    return PLAIN if has[PLAIN] else MODELS if has[MODELS] else None


def _pair_layout(
    where: str, sample: pl.DataFrame, columns: dict[str, str], pair: tuple[str, str], mapping: Mapping
) -> Layout:
    """Return the layout of pairwise votes whose responses are in the fields ``pair``."""
    by_side = pair == SIDES
    first, second = columns[pair[0]], columns[pair[1]]
    fields = {"first": first, "second": second, **_without(columns, *SIDES, *PLAIN, "rankings", "responses")}
    if not set(MODELS) & fields.keys():  # the mapping may name a model's column as the response
        named = zip(MODELS, (first, second), strict=True)
        fields |= {field: column for field, column in named if column.lower() in MODEL_NAMES[field]}
    if by_side:  # columns of models beside left and right may be in another order
        fields = _without(fields, *MODELS)
    if "outcome" not in columns:
        several = [
            name for name in sample.columns if name.lower().startswith(("winner_", "vote_")) or name.endswith("vote")
        ]
        if len(several) > 1:
            problem = f"the outcome is spread over {', '.join(several)}"
            raise mapping_needed(where, sample, problem, "one column with the outcome instead of these")
        raise mapping_needed(where, sample, "no column that holds the outcome", "--map outcome=COLUMN")
    outcomes = infer_outcomes(where, sample, fields, mapping, by_side=by_side)
    sides_known = {"auto": by_side, "shown": True, "unknown": False}[mapping.sides]
    return Layout("pair", fields, outcomes, sides_known)


def _is_text(sample: pl.DataFrame, column: str) -> bool:
    """Return whether a column holds texts, not ids."""
    values = sample[column]
    return bool((values.str.len_chars() > LONG).any() or values.str.contains("\n", literal=True).any())


def _shared_by_models(sample: pl.DataFrame, columns: dict[str, str]) -> bool:
    """Return whether two models have the same response to a prompt: then it is a text, not an id."""
    if "prompt_id" not in columns:
        return False
    sides = [["prompt_id", f"response_{side}", f"model_{side}"] for side in "ab"]
    both = pl.concat(
        sample.select(pl.col(columns[name]).alias(f"{i}") for i, name in enumerate(side)) for side in sides
    )
    return bool((both.group_by("0", "1").agg(pl.col("2").n_unique())["2"] > 1).any())


def _without(columns: dict[str, str], *names: str) -> dict[str, str]:
    return {name: column for name, column in columns.items() if name not in names}

"""The layout of a vote file: which source gives which field, from the mapping, well-known names and the first rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal, NamedTuple

import polars as pl

from annotations.readers import derived
from annotations.readers.derived import UnknownColumn, columns_of, is_text, label, parse_source, values
from annotations.readers.outcomes import DERIVED_OUTCOMES, UNDECIDED_WORDS, OutcomeWords, infer_outcomes
from schemas.errors import CurateError, most_similar
from schemas.mapping import Constant, Mapping, Source
from schemas.votes import ALL_LETTER_WORDS, LEFT_WORDS, RIGHT_WORDS, VOTE_FIELDS, FieldRule, normalized

SIDES, PLAIN, MODELS, TEXTS = (
    ("left", "right"),
    ("response_a", "response_b"),
    ("model_a", "model_b"),
    ("text_a", "text_b"),
)
"""The fields that can name the two responses of a pair, in order of precedence."""
CHOSEN = ("chosen", "rejected")
RANKS, SCORES = ("rank_a", "rank_b"), ("score_a", "score_b")
"""Pairs of numbers that can state the outcome."""
OUTCOME_SOURCES = ("outcome", *CHOSEN, *RANKS, *SCORES)
MODEL_NAMES = {rule.name: rule.aliases for rule in VOTE_FIELDS if rule.name in MODELS}
FIELD_ORDER = (
    *("first", "second", "prompt_id", "outcome", "annotator_id"),
    *(rule.name for rule in VOTE_FIELDS if rule.name not in ("prompt_id", "outcome", "annotator_id")),
)
"""The order of fields in reports."""
REJECT_COLUMNS = ("reject", "reject_text")
PLATFORM_COLUMNS = ("control", *REJECT_COLUMNS)
"""Columns that only platform readers write: see annotations.platforms.base."""
MODELS_BY_SIDE = {"model_a": "model_left", "model_b": "model_right"}
LISTED = 20
"""Columns that a message lists."""
UNKNOWN = "?"
"""What a proposed mapping holds where only the user knows."""


class Problem(NamedTuple):
    """Why a file cannot be read without guessing."""

    field: str
    text: str
    fix: str
    """The options that resolve it."""


class LayoutError(CurateError):
    """A file has no possible layout, or more than one; names all that is missing at once."""

    def __init__(self, where: str, columns: Iterable[str], problems: Sequence[Problem], sources: dict[str, Source]):
        listed = "; ".join(problem.text for problem in problems)
        names = list(columns)
        shown = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
        super().__init__(
            f"{where}: {listed} (columns: {shown})",
            hint=f"needed: {'; '.join(dict.fromkeys(problem.fix for problem in problems))}",
        )
        self.problems = tuple(problems)
        self.sources = sources
        """Field -> source, as far as they were found."""


def rows_to_confirm(rows: str) -> Problem:
    """Return the problem of a file whose rows are under a key that the mapping does not name."""
    text = f"the whole file is one JSON object, whose only list of objects is {rows}"
    return Problem("rows", text, f'rows = "{rows}" in the mapping')


class Derived(NamedTuple):
    """A column that is computed from others."""

    column: str
    compute: Callable[[pl.DataFrame], pl.Series]


@dataclass(frozen=True)
class Layout:
    """How to read the rows of one file."""

    kind: Literal["pair", "ranking"] = "pair"
    columns: dict[str, str] = field(default_factory=dict)
    """field -> column. The responses of a pair are under "first" and "second", whatever their columns are named."""
    outcomes: OutcomeWords = field(default_factory=OutcomeWords)
    sides_known: bool = False
    """The first response was shown left."""
    derived: tuple[Derived, ...] = ()
    """Columns to add to every chunk."""
    read: frozenset[str] = frozenset()
    """The columns of the file that ``columns`` come from."""
    text_ids: frozenset[str] = frozenset()
    """Fields that hold ids or texts; a long text is replaced by its digest."""
    prompts_may_be_questions: bool = False
    """A prompt's id that contains a space is its question."""

    def described(self) -> dict[str, str]:
        """Return field -> column for reports: "first" is left or response_a."""
        first, second = SIDES if self.sides_known else PLAIN
        names = {"first": first, "second": second}
        return {names.get(name, name): column for name, column in self.columns.items() if name not in PLATFORM_COLUMNS}

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a chunk's frame with the derived columns."""
        for column, compute in self.derived:
            frame = frame.with_columns(compute(frame).alias(column))
        return frame


def detect_layout(where: str, sample: pl.DataFrame, mapping: Mapping, *, one_prompt: bool = False) -> Layout:
    """Return the layout of a vote file whose first rows are ``sample``. Raises LayoutError.

    one_prompt: without a column that names the prompt, all votes are on one prompt, ``all``.
    """
    return _Detection(where, sample, mapping, one_prompt=one_prompt).layout()


def detect_platform_layout(where: str, sample: pl.DataFrame, mapping: Mapping) -> Layout:
    """Return the layout of rows from a platform reader, which also has PLATFORM_COLUMNS and the models by side."""
    own = [name for name in PLATFORM_COLUMNS if name in sample.columns]
    by_side = set(SIDES).issubset(sample.columns)
    models = {field: name for field, name in MODELS_BY_SIDE.items() if by_side and name in sample.columns}
    layout = detect_layout(where, sample.drop([*own, *models.values()]), mapping)
    columns = {name: name for name in own} | (models if layout.columns.get("first") == "left" else {})
    return replace(layout, columns={**layout.columns, **columns})


def find_sources(
    present: Iterable[str], rules: Iterable[FieldRule], mapped: dict[str, Source]
) -> tuple[dict[str, Source], list[Problem]]:
    """Return (field -> source, problems): first by the mapping, then by well-known names.

    Names are compared without case and separators (``Prompt ID``, ``promptId``); a field's own name beats its others.
    """
    present, rules = tuple(present), tuple(rules)
    sources: dict[str, Source] = {}
    problems: list[Problem] = []
    known = {rule.name for rule in rules}
    for name, source in mapped.items():
        try:
            if name not in known:
                other = next((rule.name for rule in rules if normalized(name) in rule.aliases), None)
                meant = other or most_similar(name, known)
                fix = f"the field {meant} instead" if meant else f"one of the fields {', '.join(sorted(known))}"
                problems.append(Problem(name, f"the mapping names an unknown field {name!r}", fix))
            elif source == UNKNOWN:
                problems.append(Problem(name, f"the mapping leaves {name} open ({UNKNOWN})", f"--map {name}=COLUMN"))
            elif parsed := parse_source(source, present):
                sources[name] = parsed
        except UnknownColumn as error:
            problems.append(Problem(name, f"--map {name}: {error}", f"--map {name}=COLUMN"))
    taken = {column for source in sources.values() for column in derived.columns_of(source)}
    by_name: dict[str, list[str]] = {}
    for column in present:
        if column not in taken:
            by_name.setdefault(normalized(column), []).append(column)
    for rule in rules:
        if rule.name in mapped:
            continue
        found = [by_name[alias] for alias in rule.aliases if alias in by_name]
        own = bool(found) and normalized(found[0][0]) == rule.name
        names = found[0] if own else list(chain.from_iterable(found))
        if len(names) > 1:
            options = " or ".join(f"--map {rule.name}={name}" for name in names)
            problems.append(Problem(rule.name, f"{rule.name} could be {' or '.join(names)}", options))
        elif names:
            sources[rule.name] = names[0]
    return sources, problems


class _Detection:
    """One detection: the sources found so far, the layout built from them, and what is missing."""

    def __init__(self, where: str, sample: pl.DataFrame, mapping: Mapping, *, one_prompt: bool) -> None:
        self.where, self.sample, self.mapping, self.one_prompt = where, sample, mapping, one_prompt
        self.sources, self.problems = find_sources(sample.columns, VOTE_FIELDS, mapping.columns)
        self.columns: dict[str, str] = {}
        self.derived: list[Derived] = []
        self.read: set[str] = set()
        self.text_ids: set[str] = set()
        self.prompts_may_be_questions = False

    def layout(self) -> Layout:
        self._find_prompt()
        pair = self._pair()
        ranked = "rankings" in self.sources or "scores" in self.sources
        if pair is None and ranked:
            layout = self._ranking_layout()
        else:
            if pair is None and not any(problem.field in (*SIDES, *PLAIN, *MODELS) for problem in self.problems):
                needed = "--map left=COLUMN --map right=COLUMN; omit a file without votes"
                self._miss("left", "no columns that name two responses", needed)
            layout = self._pair_layout(pair)
        if self.problems:
            raise LayoutError(self.where, self.sample.columns, self.problems, self.sources)
        columns = {name: self.columns[name] for name in FIELD_ORDER if name in self.columns}
        return replace(
            layout,
            columns=columns,
            derived=tuple(self.derived),
            read=frozenset(self.read),
            text_ids=frozenset(self.text_ids),
            prompts_may_be_questions=self.prompts_may_be_questions,
        )

    def _miss(self, name: str, text: str, fix: str) -> None:
        self.problems.append(Problem(name, text, fix))

    def _has(self, *names: str) -> bool:
        return all(name in self.sources for name in names)

    def _texts(self, name: str) -> bool:
        """Return whether the source of a field holds texts, not ids."""
        return bool(is_text(values(self.sources[name], self.sample).str.strip_chars()).any())

    def _use(self, name: str, source: Source) -> str:
        """Make a source the column of a field, and return the column."""
        column = label(source)
        self.read.update(columns_of(source))
        if not isinstance(source, str) or source not in self.sample.columns:
            column = derived.free_name(column, self.sample.columns)
            self._derive(column, lambda frame: values(source, frame))
        self.columns[name] = column
        return column

    def _derive(self, column: str, compute: Callable[[pl.DataFrame], pl.Series]) -> None:
        if all(known.column != column for known in self.derived):
            self.derived.append(Derived(column, compute))

    def _find_prompt(self) -> None:
        """Without a column of ids, the question identifies the prompt; a long one by its digest."""
        if self._has("prompt_id"):
            self.text_ids |= {"prompt_id"} if isinstance(self.sources["prompt_id"], str) else set()
        elif self._has("question"):
            question = self.sources["question"]
            self.sources["prompt_id"] = question
            self.text_ids.add("prompt_id")
            if normalized(label(question)) == "prompt":  # it may hold ids, which are no questions
                del self.sources["question"]
                self.prompts_may_be_questions = True
        elif any(problem.field in ("prompt_id", "question") for problem in self.problems):
            return
        elif self.one_prompt:
            self.sources["prompt_id"] = Constant(const="all")
        else:
            fix = "--map prompt_id=COLUMN, or --map prompt_id=\"'all'\" for a leaderboard without prompts"
            self._miss("prompt_id", "no column that names the prompt", fix)

    def _pair(self) -> tuple[str, str] | None:
        """Return the two fields that name the responses of a pair; None if no columns do."""
        groups = (SIDES, PLAIN, MODELS, TEXTS)
        has = {pair: self._has(*pair) for pair in groups}
        for pair in (SIDES, PLAIN, MODELS):
            if not has[pair] and any(name in self.sources for name in pair):
                one, other = sorted(pair, key=lambda name: name not in self.sources)
                text = f"{one} is column {label(self.sources[one])!r}, but no column is {other}"
                self._miss(other, text, f"--map {other}=COLUMN, or --map {one}= to ignore it")
        if "rankings" in self.sources and any(has.values()):
            self._miss("rankings", "both pairs and rankings", "--map rankings= or --map response_a= and so on")
        if has[SIDES] and has[PLAIN]:
            one, other = ("/".join(label(self.sources[name]) for name in pair) for pair in (SIDES, PLAIN))
            self._miss("left", f"two pairs of responses ({one} and {other})", "--map left= --map right= to ignore one")
        if has[SIDES]:
            found = values(self.sources["left"], self.sample).drop_nulls().str.strip_chars().str.to_lowercase()
            words = set(found.unique()) - {""}
            if has[MODELS] and words and words <= ALL_LETTER_WORDS:
                text = f"column {label(self.sources['left'])!r} refers to other columns ({', '.join(sorted(words))})"
                self._miss("left", text, "columns that hold the responses shown left and right themselves")
            return SIDES
        if has[PLAIN] and has[MODELS] and "response_a" not in self.mapping.columns and self._responses_are_texts():
            for text, response in zip(TEXTS, PLAIN, strict=True):
                self.sources.setdefault(text, self.sources.pop(response))
            return MODELS
        found_pair = next((pair for pair in (PLAIN, MODELS) if has[pair]), None)
        if found_pair is None and self._names_winner_and_loser():
            return CHOSEN
        return found_pair or (TEXTS if has[TEXTS] and "rankings" not in self.sources else None)

    def _names_winner_and_loser(self) -> bool:
        """Return whether chosen and rejected are known; a column ``winner`` beside a ``loser`` is the chosen one."""
        outcome, rejected = (normalized(label(self.sources.get(name, ""))) for name in ("outcome", "rejected"))
        if not self._has("chosen") and outcome == "winner" and rejected.startswith("loser"):
            self.sources["chosen"] = self.sources["outcome"]
        return self._has(*CHOSEN)

    def _responses_are_texts(self) -> bool:
        """Return whether response_a holds texts: long ones, or one response that two models share."""
        if any(map(self._texts, PLAIN)):
            return True
        if not self._has("prompt_id"):
            return False
        rows = [
            pl.DataFrame(
                [values(self.sources[name], self.sample).alias(str(i)) for i, name in enumerate(("prompt_id", *fields))]
            )
            for fields in zip(PLAIN, MODELS, strict=True)
        ]
        return bool((pl.concat(rows).group_by("0", "1").agg(pl.col("2").n_unique())["2"] > 1).any())

    def _ranking_layout(self) -> Layout:
        if "scores" in self.sources and "rankings" not in self.sources:
            scores = self.sources.pop("scores")
            column = derived.free_name(f"ranks of {label(scores)}", self.sample.columns)
            self._derive(column, lambda frame: derived.ranks_from_scores(values(scores, frame)))
            self.columns["rankings"] = column
        for name, source in self.sources.items():
            if name not in (*OUTCOME_SOURCES, "scores", *SIDES, *PLAIN, *TEXTS, *MODELS):
                self._use(name, source)
        return Layout("ranking", self.columns)

    def _pair_layout(self, pair: tuple[str, str] | None) -> Layout:
        """Return the layout of pairwise votes whose responses are in the fields ``pair``."""
        by_side = pair == SIDES
        if pair:
            for name, own in zip(("first", "second"), pair, strict=True):
                self._use(name, self.sources[own])
                if own not in MODELS and isinstance(self.sources[own], str):
                    self.text_ids |= {name, "outcome"}
            if not set(MODELS) & self.sources.keys():  # the mapping may name a model's column as the response
                for name, own in zip(MODELS, pair, strict=True):
                    if normalized(label(self.sources[own])) in MODEL_NAMES[name]:
                        self.sources[name] = self.sources[own]
        dropped = {*SIDES, *PLAIN, *OUTCOME_SOURCES, "rankings", "responses", "scores"}
        if by_side:  # columns of models beside left and right may be in another order
            dropped |= set(MODELS)
        for name, source in self.sources.items():
            if name not in dropped:
                self._use(name, source)
        outcomes = self._outcomes(pair, by_side=by_side)
        sides_known = {"auto": by_side, "shown": True, "unknown": False}[self.mapping.sides]
        return Layout("pair", self.columns, outcomes, sides_known)

    def _outcomes(self, pair: tuple[str, str] | None, *, by_side: bool) -> OutcomeWords:
        """Find the source of the outcome and return the meaning of its values."""
        mapped = {name for name, source in self.mapping.columns.items() if source}
        numbers = next((two for two in (RANKS, SCORES) if mapped.intersection(two)), None)
        if numbers is None and "outcome" not in self.sources:
            numbers = next((two for two in (RANKS, SCORES) if self._has(*two)), None)
        if pair == CHOSEN:
            return self._derived_outcome("chosen", lambda frame: values(Constant(const=derived.FIRST), frame))
        if numbers:
            if not self._has(*numbers):
                self._miss(numbers[0], f"{' and '.join(numbers)} are needed together", f"--map {numbers[1]}=COLUMN")
                return OutcomeWords()
            a, b = (self.sources[name] for name in numbers)
            self.read.update(columns_of(a), columns_of(b))
            return self._derived_outcome(
                f"{label(a)} and {label(b)}",
                lambda frame: derived.outcome_from_numbers(
                    values(a, frame), values(b, frame), higher_is_better=numbers == SCORES
                ),
            )
        if "outcome" not in self.sources:
            if not any(problem.field == "outcome" for problem in self.problems):
                self._miss_outcome()
            return OutcomeWords()
        outcome = self.sources["outcome"]
        if scale := self.mapping.scale:
            self.read.update(columns_of(outcome))
            return self._derived_outcome(
                f"{label(outcome)} from {scale.first:g} to {scale.second:g}",
                lambda frame: derived.outcome_from_scale(values(outcome, frame), scale),
            )
        self._use("outcome", outcome)
        if pair is None:
            return OutcomeWords()
        frame = replace(Layout(), derived=tuple(self.derived)).apply(self.sample)
        words, problems = infer_outcomes(frame, self.columns, self.mapping, by_side=by_side)
        self.problems += [Problem("outcome", *problem) for problem in problems]
        return words

    def _derived_outcome(self, name: str, compute: Callable[[pl.DataFrame], pl.Series]) -> OutcomeWords:
        column = derived.free_name(name, [*self.sample.columns, *(known.column for known in self.derived)])
        self._derive(column, compute)
        self.columns["outcome"] = column
        self.text_ids.discard("outcome")
        return DERIVED_OUTCOMES

    def _miss_outcome(self) -> None:
        several = [
            name
            for name in self.sample.columns
            if normalized(name).startswith(("winner_", "vote_")) or normalized(name).endswith("vote")
        ]
        if len(several) > 1:
            fix = "--map outcome=COLUMN, or [melt] in the mapping if each column is the vote of one annotator"
            self._miss("outcome", f"the outcome is spread over {', '.join(several)}", fix)
            return
        known = {*LEFT_WORDS, *RIGHT_WORDS, *ALL_LETTER_WORDS, *UNDECIDED_WORDS}
        answers = [
            name
            for name in self.sample.columns
            if name not in self.columns.values()
            and (words := set(self.sample[name].drop_nulls().str.strip_chars().str.to_lowercase()))
            and words <= known
        ]
        text, fix = "no column that holds the outcome", "--map outcome=COLUMN"
        if len(answers) > 1:
            listed = ", ".join(f'"{name}"' for name in answers)
            text += f", but {len(answers)} that may each hold it by one criterion: {', '.join(answers)}"
            fix += f', or for all of them, in a mapping: melt = {{ into = "criterion", columns = [{listed}] }}'
        self._miss("outcome", text, fix)

"""The review of a vote file before its ingest: what it holds, how it would be read, and what only the user knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl

from annotations.file_reader import FileReader
from annotations.platforms.registry import detect_platform
from annotations.readers.columns import UNKNOWN, LayoutError, Problem
from annotations.readers.derived import label
from annotations.readers.files import VoteFile
from annotations.readers.outcomes import OUTCOME_NAMES
from annotations.readers.sources import vote_files
from schemas.config import IngestConfig
from schemas.mapping import Constant, Digest, Joined, ListOf, Part, Source
from schemas.reports import ColumnReview, FileReview
from schemas.votes import normalized

SAMPLED, SHOWN, FREQUENT = 5, 6, 8
"""Rows shown, values shown per column, and values up to which a column may be an outcome."""
WORDS = {
    "prompt_id": ("prompt", "question", "instruction", "input", "task", "item", "segment", "query"),
    "outcome": (*OUTCOME_NAMES, "better", "result", "score", "answer", "judgment"),
    "annotator_id": ("annot", "worker", "rater", "judge", "user", "evaluator"),
}
"""Field -> parts of the names of columns that may hold it."""
PAIR_FIELDS = ("left", "right", "response_a", "response_b", "model_a", "model_b", "text_a", "text_b", "chosen")


def explain(paths: Any, config: IngestConfig = IngestConfig()) -> Iterator[FileReview]:
    """Yield the review of each file; nothing is stored.

    Parameters
    ----------
    paths
        The same sources as of ``ingest``.
    config
        What is known already; the review names what is still missing.

    Raises
    ------
    CurateError
        A file cannot be parsed at all.
    """
    with vote_files(paths, config) as files:
        for file in files:
            yield _review(file, config)


def _review(file: VoteFile, config: IngestConfig) -> FileReview:
    platform = detect_platform(file, config.format_of(str(file)))
    reader = FileReader(file, platform, None)
    problems: tuple[Problem, ...] = ()
    sources: dict[str, Source] = {}
    try:
        next(
            reader.read(config.model_copy(update={"on_error": "reject"}), datetime.now(UTC).replace(tzinfo=None)), None
        )
    except LayoutError as error:
        problems, sources = error.problems, error.sources
    sample = pl.DataFrame() if reader.sample is None else reader.sample
    detected = reader.layout.described() if reader.layout else {name: label(one) for name, one in sources.items()}
    return FileReview(
        path=str(file),
        format=file.format,
        platform=platform.name if platform else "",
        rows=sample.height,
        sample=tuple(sample.head(SAMPLED).to_dicts()),
        columns=tuple(_column(sample[name]) for name in sample.columns),
        detected=detected,
        problems=tuple(problem.text for problem in problems),
        mapping=_mapping(file, sample, sources, problems),
    )


def _column(column: pl.Series) -> ColumnReview:
    counts = column.drop_nulls().value_counts(sort=True, name="n")
    top = counts.sort("n", column.name, descending=[True, False]).head(SHOWN)
    return ColumnReview(
        name=column.name, distinct=counts.height, empty=column.null_count(), values=tuple(top.iter_rows())
    )


def _mapping(file: VoteFile, sample: pl.DataFrame, sources: dict[str, Source], problems: tuple[Problem, ...]) -> str:
    """Return the mapping of a file as TOML, with ``?`` and candidates where something is missing."""
    lines = [
        f"# {file}: {sample.height:,} rows were looked at",
        "[[ingest.files]]",
        f"match = {_text(PurePath(str(file)).name)}",
    ]
    open_fields = [problem.field for problem in problems]
    outcome = sources.get("outcome")
    values = None
    if "outcome" in open_fields and isinstance(outcome, str) and outcome in sample.columns:
        values = sample[outcome].drop_nulls().str.strip_chars().value_counts(sort=True, name="n")
        numbers = values[outcome].cast(pl.Float64, strict=False).to_numpy()
        if len(numbers) > FREQUENT and np.isfinite(numbers).all():
            lines.append(
                f"# scale = {{ first = {UNKNOWN}, second = {UNKNOWN} }}  # the ends at which the first and the second "
                f"response are better: {numbers.min():g} and {numbers.max():g}"
            )
            values = None
    lines.append("[ingest.files.columns]")
    lines += [f"{name} = {_toml(source)}" for name, source in sources.items() if name not in open_fields]
    for problem in problems:
        if problem.field == "outcome" and outcome:
            lines.append(f"outcome = {_toml(outcome)}")
        else:
            lines.append(f"{problem.field} = {_text(UNKNOWN)}  # {problem.text}; {_candidates(problem.field, sample)}")
    if values is not None:
        lines.append("[ingest.files.outcomes]  # left (the first response), right, tie or both_bad")
        lines += [f"{_text(value)} = {_text(UNKNOWN)}  # {count:,} rows" for value, count in values.iter_rows()]
    return "\n".join(lines)


def _candidates(field: str, sample: pl.DataFrame) -> str:
    """Return the columns that may hold a field, by their names and contents, as a comment."""
    found = []
    for name in sample.columns:
        distinct = sample[name].n_unique()
        named = any(word in normalized(name) for word in WORDS.get(field, (field.split("_")[0],)))
        fits = {
            "outcome": 1 < distinct <= FREQUENT,
            "prompt_id": named and distinct > 1,
            "annotator_id": named and distinct < sample.height,
        }.get(field, distinct > 1)
        if (named and fits) or (field == "outcome" and fits) or (field in PAIR_FIELDS and fits):
            found.append((not named, name, distinct))
    listed = ", ".join(f"{name} ({distinct:,} values)" for _, name, distinct in sorted(found)[:SHOWN])
    constant = '; for a leaderboard without prompts { const = "all" }' if field == "prompt_id" else ""
    return f"candidates: {listed or 'none'}{constant}"


def _toml(source: Source) -> str:
    """Return a source as a TOML value."""
    if isinstance(source, Constant | Joined | Part | Digest | ListOf):
        values = source.model_dump(exclude_defaults=True)
        return (
            "{ "
            + ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
            + " }"
        )
    return _text(source)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)

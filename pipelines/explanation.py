"""The review of a vote file before its ingest: what it holds, how it would be read, and what only the user knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from glob import escape
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
from schemas.mapping import Source
from schemas.reports import ColumnReview, FileReview
from schemas.votes import normalized

SAMPLED, SHOWN = 5, 6
"""Rows shown, and values shown per column."""
FREQUENT, LISTED = 8, 30
"""Distinct values up to which a column may hold outcomes, and up to which their meanings are asked for."""
WORDS = {
    "prompt_id": ("prompt", "question", "instruction", "input", "task", "item", "segment", "query"),
    "outcome": (*OUTCOME_NAMES, "better", "result", "score", "answer", "judgment"),
    "annotator_id": ("annot", "worker", "rater", "judge", "user", "evaluator"),
}
"""Field -> parts of the names of columns that may hold it."""
BYTES = {"rows", "separator", "quoting", "comment", "encoding"}
"""The keys of a mapping that say how the bytes of a file are read."""
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
    reader = FileReader(file, detect_platform(file, config.format_of(str(file))), None)
    lenient = config.model_copy(update={"on_error": "reject"})
    try:
        next(reader.read(lenient, datetime.now(UTC).replace(tzinfo=None)), None)
    except LayoutError as error:
        return review_of(reader, error)
    return review_of(reader)


def review_of(reader: FileReader, error: LayoutError | None = None) -> FileReview:
    """Return the review of a file whose first rows were read. error: what the layout lacks."""
    file = reader.file
    sample = pl.DataFrame() if reader.sample is None else reader.sample
    sources = error.sources if error else {}
    problems = {problem.field: problem for problem in error.problems if problem.field != "rows"} if error else {}
    return FileReview(
        path=str(file),
        format=file.format,
        platform=reader.platform.name if reader.platform else "",
        rows=sample.height,
        sample=tuple(sample.head(SAMPLED).to_dicts()),
        columns=tuple(_column(sample[name]) for name in sample.columns),
        detected=reader.layout.described() if reader.layout else {name: label(one) for name, one in sources.items()},
        problems=tuple(problem.text for problem in error.problems) if error else (),
        mapping=_mapping(file, sample, sources, problems),
    )


def _column(column: pl.Series) -> ColumnReview:
    counts = column.drop_nulls().value_counts(sort=True, name="n")
    top = counts.sort("n", column.name, descending=[True, False]).head(SHOWN)
    return ColumnReview(
        name=column.name, distinct=counts.height, empty=column.null_count(), values=tuple(top.iter_rows())
    )


def _mapping(file: VoteFile, sample: pl.DataFrame, sources: dict[str, Source], problems: dict[str, Problem]) -> str:
    """Return the mapping of a file as TOML, with ``?`` and candidates where something is missing."""
    lines = [
        _comment(f"{file}: rows looked at: {sample.height:,}"),
        "[[ingest.files]]",
        f"match = {_text(escape(PurePath(str(file)).name))}",
        *(
            f"{name} = {json.dumps(value)}"
            for name, value in file.mapping.model_dump(include=BYTES, exclude_defaults=True).items()
        ),
    ]
    outcome = sources.get("outcome")
    meanings: list[str] = []
    if "outcome" in problems and isinstance(outcome, str) and outcome in sample.columns:
        scale, meanings = _outcome_questions(sample[outcome].str.strip_chars())
        lines += scale
    lines.append("[ingest.files.columns]")
    lines += [f"{name} = {_toml(source)}" for name, source in sources.items() if name not in problems]
    for name, problem in problems.items():
        if name == "outcome" and outcome:
            lines.append(f"outcome = {_toml(outcome)}")
        else:
            remark = _comment(f"{problem.text}; {_candidates(name, sample)}")
            lines.append(f"{name} = {_text(UNKNOWN)}  {remark}")
    return "\n".join([*lines, *meanings])


def _outcome_questions(values: pl.Series) -> tuple[list[str], list[str]]:
    """Return the lines that ask for the ends of a scale, or those that ask for the meaning of each value."""
    counts = values.drop_nulls().value_counts(name="n").sort("n", values.name, descending=[True, False])
    numbers = counts[values.name].cast(pl.Float64, strict=False).to_numpy()
    if len(numbers) > FREQUENT and np.isfinite(numbers).all():
        ends = f"the ends at which the first and the second response are better: {numbers.min():g}, {numbers.max():g}"
        return [_comment(f"scale = {{ first = {UNKNOWN}, second = {UNKNOWN} }}  # {ends}")], []
    head = "[ingest.files.outcomes]  # left (the first response), right, tie or both_bad"
    asked = [f"{_text(value)} = {_text(UNKNOWN)}  # {count:,} rows" for value, count in counts.head(LISTED).iter_rows()]
    more = [_comment(f"and {counts.height - LISTED:,} more values")] if counts.height > LISTED else []
    return [], [head, *asked, *more]


def _candidates(field: str, sample: pl.DataFrame) -> str:
    """Return the columns that may hold a field, by their names and contents."""
    found = []
    for name in sample.columns:
        distinct = sample[name].n_unique()
        named = any(word in normalized(name) for word in WORDS.get(field, (field.split("_")[0],)))
        by_content = field in PAIR_FIELDS or (field == "outcome" and distinct <= FREQUENT)
        if distinct > 1 and (named or by_content):
            found.append((not named, name, distinct))
    listed = ", ".join(f"{name} ({distinct:,} values)" for _, name, distinct in sorted(found)[:SHOWN])
    constant = '; for a leaderboard without prompts { const = "all" }' if field == "prompt_id" else ""
    return f"candidates: {listed or 'none'}{constant}"


def _toml(source: Source) -> str:
    """Return a source as a TOML value."""
    if isinstance(source, str):
        return _text(source)
    parts = source.model_dump(exclude_defaults=True).items()
    return "{ " + ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in parts) + " }"


def _comment(text: str) -> str:
    """Return a TOML comment of one line."""
    return "# " + " ".join(text.split())


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)

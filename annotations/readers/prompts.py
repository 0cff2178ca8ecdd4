"""Files of prompts and of responses: small tables in which every row must be valid."""

from __future__ import annotations

from typing import Any

import polars as pl

from annotations.readers.columns import LayoutError, Problem, find_sources, rows_to_confirm
from annotations.readers.derived import columns_of, values
from annotations.readers.files import VoteFile
from annotations.readers.formats import guarded_chunks
from annotations.readers.sources import vote_files
from schemas.config import IngestConfig
from schemas.errors import CurateError
from schemas.mapping import Source
from schemas.votes import PROMPT_FIELDS, RESPONSE_FIELDS, FieldRule

UNTRIMMED = ("question", "text")
OTHER = "other."
"""Prefix of the columns of a file that are no field."""


def read_prompts(given: Any, config: IngestConfig) -> pl.DataFrame:
    """Return (prompt_id, question, video, category) of a file, one row per prompt. ``mapped``: field -> column.

    Raises CurateError for a damaged file, an empty id, and a prompt with two different rows.
    """
    path, frame = _read(given, config, PROMPT_FIELDS, "prompt_columns")
    return _distinct(path, frame, ("prompt_id",), ("question", "video", "category"))


def read_responses(given: Any, config: IngestConfig) -> pl.DataFrame:
    """Return (prompt_id, response_id, model, text, meta) of a file, one row per response. Raises as ``read_prompts``.

    meta: a JSON object of the file's other columns, where all values of a column are numbers.
    """
    path, frame = _read(given, config, RESPONSE_FIELDS, "response_columns")
    others = [column for column in frame if column.name.startswith(OTHER)]
    numbers = [
        value.alias(column.name.removeprefix(OTHER))
        for column in others
        if not (value := column.str.strip_chars().cast(pl.Float64, strict=False)).is_null().all()
        and value.null_count() == column.null_count()
    ]
    meta = pl.select(pl.struct(numbers).struct.json_encode()).to_series() if numbers else pl.lit(None, pl.String)
    return _distinct(path, frame.with_columns(meta=meta), ("prompt_id", "response_id"), ("model", "text", "meta"))


def _read(given: Any, config: IngestConfig, rules: tuple[FieldRule, ...], key: str) -> tuple[str, pl.DataFrame]:
    """Return (the name of the source, its rows). ``key``: the part of the mapping that names its columns."""
    frames, names = [], []
    with vote_files(given, config) as files:
        for file in files:
            names.append(str(file))
            for chunk in guarded_chunks(file):
                if chunk.broken:
                    first = chunk.broken[0]
                    raise CurateError(f"{file}:{first.line}: {first.message}", hint="repair the file")
                if chunk.frame.width:
                    fields = _fields(file, chunk.frame, rules, getattr(file.mapping, key))
                    frames.append(fields.with_columns(chunk.line.alias("line")))
    where = ", ".join(names)
    if not frames:
        raise CurateError(f"{where}: no rows", hint="check that this is the right file")
    return where, pl.concat(frames, how="diagonal")


def _fields(
    file: VoteFile, frame: pl.DataFrame, rules: tuple[FieldRule, ...], mapped: dict[str, Source]
) -> pl.DataFrame:
    """Return one column per rule; raise LayoutError that names everything missing at once."""
    sources, problems = find_sources(frame.columns, rules, mapped)
    if file.rows_are_proposed:
        problems.append(rows_to_confirm(file.mapping.rows))
    table = "prompts" if rules is PROMPT_FIELDS else "responses"
    for name in ("prompt_id", "response_id"):
        needed = any(rule.name == name for rule in rules)
        if needed and name not in sources and not any(problem.field == name for problem in problems):
            problems.append(Problem(name, f"no column that holds {name}", f"--map {table}.{name}=COLUMN"))
    if problems:
        raise LayoutError(str(file), frame.columns, problems, sources)
    used = {name for source in sources.values() for name in columns_of(source)}
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    fields = [
        (values(sources[rule.name], frame) if rule.name in sources else nothing).alias(rule.name) for rule in rules
    ]
    fields = [column if column.name in UNTRIMMED else column.str.strip_chars() for column in fields]
    return pl.DataFrame(fields + [column.alias(OTHER + column.name) for column in frame if column.name not in used])


def _distinct(path: str, frame: pl.DataFrame, key: tuple[str, ...], facts: tuple[str, ...]) -> pl.DataFrame:
    """Return the distinct rows, sorted by key; raise CurateError for an empty key or one with two different rows."""
    for name in key:
        empty = frame.filter(pl.col(name).is_null() | (pl.col(name) == ""))
        if empty.height:
            line = empty["line"][0]
            raise CurateError(f"{path}:{line}: {name} is empty", hint=f"every row needs a value in a column {name}")
    frame = frame.with_columns(
        pl.when(pl.col(fact).str.strip_chars() != "").then(pl.col(fact)).alias(fact) for fact in facts
    )
    rows = frame.select(*key, *facts).unique(maintain_order=True)
    repeated = rows.filter(pl.struct(key).is_duplicated())
    if repeated.height:
        name = " / ".join(str(repeated[part][0]) for part in key)
        raise CurateError(f"{path}: {name} has two different rows", hint="keep one row, or make the rows equal")
    return rows.sort(key)

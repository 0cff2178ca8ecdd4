"""Files of prompts and of responses: small tables in which every row must be valid."""

from __future__ import annotations

import polars as pl

from annotations.readers.columns import LayoutError, find_sources
from annotations.readers.derived import values
from annotations.readers.files import find_files
from annotations.readers.formats import read_chunks
from schemas.errors import CurateError
from schemas.mapping import Source
from schemas.votes import PROMPT_FIELDS, RESPONSE_FIELDS, FieldRule


def read_prompts(path: str, mapped: dict[str, Source]) -> pl.DataFrame:
    """Return (prompt_id, question, video, category) of a file, one row per prompt. ``mapped``: field -> column.

    Raises CurateError for a damaged file, an empty id, and a prompt with two different rows.
    """
    frame = _read(path, PROMPT_FIELDS, mapped)
    return _distinct(path, frame, ("prompt_id",), ("question", "video", "category"))


def read_responses(path: str, mapped: dict[str, Source]) -> pl.DataFrame:
    """Return (prompt_id, response_id, model, text) of a file, one row per response. Raises as ``read_prompts``."""
    frame = _read(path, RESPONSE_FIELDS, mapped)
    return _distinct(path, frame, ("prompt_id", "response_id"), ("model", "text"))


def _read(path: str, rules: tuple[FieldRule, ...], mapped: dict[str, Source]) -> pl.DataFrame:
    frames = []
    for file in find_files([path]):
        for chunk in read_chunks(file):
            if chunk.broken:
                first = chunk.broken[0]
                raise CurateError(f"{file.path}:{first.line}: {first.message}", hint="repair the file")
            if not chunk.frame.width:
                continue
            sources, problems = find_sources(chunk.frame.columns, rules, mapped)
            if problems:
                raise LayoutError(str(file), chunk.frame.columns, problems, sources)
            fields = [
                values(sources[rule.name], chunk.frame).str.strip_chars().alias(rule.name)
                if rule.name in sources
                else pl.Series(rule.name, [None], pl.String).new_from_index(0, chunk.frame.height)
                for rule in rules
            ]
            frames.append(pl.DataFrame([*fields, chunk.line.alias("line")]))
    if not frames:
        raise CurateError(f"{path}: no rows", hint="check that this is the right file")
    return pl.concat(frames)


def _distinct(path: str, frame: pl.DataFrame, key: tuple[str, ...], facts: tuple[str, ...]) -> pl.DataFrame:
    """Return the distinct rows, sorted by key; raise CurateError for an empty key or one with two different rows."""
    for name in key:
        empty = frame.filter(pl.col(name).is_null() | (pl.col(name) == ""))
        if empty.height:
            line = empty["line"][0]
            raise CurateError(f"{path}:{line}: {name} is empty", hint=f"every row needs a value in a column {name}")
    frame = frame.with_columns(pl.when(pl.col(fact) != "").then(pl.col(fact)).alias(fact) for fact in facts)
    rows = frame.select(*key, *facts).unique(maintain_order=True)
    repeated = rows.filter(pl.struct(key).is_duplicated())
    if repeated.height:
        name = " / ".join(str(repeated[part][0]) for part in key)
        raise CurateError(f"{path}: {name} has two different rows", hint="keep one row, or make the rows equal")
    return rows.sort(key)

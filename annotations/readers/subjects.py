"""Files of prompts and of responses: small tables that must be right as a whole."""

from __future__ import annotations

import polars as pl

from annotations.readers.chunks import read_chunks
from annotations.readers.columns import find_columns
from annotations.readers.files import find_files
from schemas.errors import CurateError
from schemas.votes import PROMPT_FIELDS, RESPONSE_FIELDS, FieldRule


def read_prompts(path: str, told: dict[str, str]) -> pl.DataFrame:
    """(prompt_id, question, video) of a file, one row a prompt. ``told``: field -> column, from the mapping.

    Raises CurateError for a damaged file, an empty id, and a prompt of which the file says two things.
    """
    frame = _read(path, PROMPT_FIELDS, told, "prompt_columns")
    return _distinct(path, frame, ("prompt_id",), ("question", "video"))


def read_responses(path: str, told: dict[str, str]) -> pl.DataFrame:
    """(prompt_id, response_id, model, text) of a file, one row a response. Raises CurateError as ``read_prompts``."""
    frame = _read(path, RESPONSE_FIELDS, told, "response_columns")
    return _distinct(path, frame, ("prompt_id", "response_id"), ("model", "text"))


def _read(path: str, rules: tuple[FieldRule, ...], told: dict[str, str], key: str) -> pl.DataFrame:
    frames = []
    for file in find_files([path]):
        for chunk in read_chunks(file):
            if chunk.broken:
                first = chunk.broken[0]
                raise CurateError(f"{file.path}:{first.line}: {first.message}", hint="mend the file")
            if not chunk.frame.width:
                continue
            try:
                columns = find_columns(str(file.path), chunk.frame.columns, rules, told)
            except CurateError as error:
                raise CurateError(str(error), hint=f"say which in the mapping file, under [{key}]") from error
            fields = [
                pl.col(columns[rule.name]).str.strip_chars().alias(rule.name)
                if rule.name in columns
                else pl.lit(None, pl.String).alias(rule.name)
                for rule in rules
            ]
            frames.append(chunk.frame.select(fields).with_columns(chunk.line.alias("line")))
    if not frames:
        raise CurateError(f"{path}: no rows", hint="is it the right file?")
    return pl.concat(frames)


def _distinct(path: str, frame: pl.DataFrame, key: tuple[str, ...], facts: tuple[str, ...]) -> pl.DataFrame:
    for name in key:
        empty = frame.filter(pl.col(name).is_null() | (pl.col(name) == ""))
        if empty.height:
            line = empty["line"][0]
            raise CurateError(f"{path}:{line}: no {name}", hint=f"needed: a column {name}, filled in every row")
    frame = frame.with_columns(pl.when(pl.col(fact) != "").then(pl.col(fact)).alias(fact) for fact in facts)
    rows = frame.select(*key, *facts).unique(maintain_order=True)
    twice = rows.filter(pl.struct(key).is_duplicated())
    if twice.height:
        name = " / ".join(str(twice[part][0]) for part in key)
        raise CurateError(f"{path}: says two things of {name}", hint="one row for each, or equal rows")
    return rows.sort(key)

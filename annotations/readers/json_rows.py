"""The rows of a file that is one JSON object: a list of objects under one or several keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from annotations.readers.json_text import pointer, query
from schemas.errors import CurateError

LEVELS = 3
"""Nested objects that are searched for lists."""


def list_at(document: bytes, path: str, name: str) -> bytes:
    """Return the JSON list at a path of keys, unchanged. Raises CurateError if there is none."""
    data = pl.DataFrame({"v": [document.decode("utf-8", "replace")]})
    sql = """SELECT CASE WHEN json_type(v, $1) = 'ARRAY' THEN json_extract(v, $1)::VARCHAR END AS v
        FROM data WHERE json_valid(v)"""
    found = query(sql, [pointer(path)], data=data)["v"]
    if not len(found):
        raise CurateError(
            f"{name}: not one JSON object, or damaged", hint="omit rows from the mapping, or repair the file"
        )
    if found[0] is None:
        lists = ", ".join(lists_of_objects(document)) or "none"
        hint = f"correct rows in the mapping; lists of objects: {lists}"
        raise CurateError(f"{name}: no list at {path!r}", hint=hint)
    return str(found[0]).encode()


def lists_of_objects(document: bytes) -> list[str]:
    """Return the paths of the lists of objects in a JSON object, as far as it can be read."""
    try:
        return list(_lists(json.loads(document), "", LEVELS))
    except (ValueError, RecursionError):
        return []


def _lists(value: Any, path: str, levels: int) -> Iterator[str]:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield path
    if isinstance(value, dict) and levels:
        for key, part in value.items():
            yield from _lists(part, f"{path}.{key}" if path else key, levels - 1)

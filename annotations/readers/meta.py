"""What an export says beyond a vote's own fields, as one JSON text a row."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import polars as pl

from annotations.platforms.base import nested
from annotations.readers.privacy import personal_kind


def meta_of(frame: pl.DataFrame) -> tuple[pl.Series, Counter[str]]:
    """(n,) each row's columns as a JSON object without what is absent, null where all is; and what was dropped.

    Keys of nested objects that hold personal data by their name are dropped and counted by kind.
    """
    gone: Counter[str] = Counter()
    texts: list[str | None] = []
    for row in frame.iter_rows(named=True):
        known = {name: _kept(nested(value), gone) for name, value in row.items() if value is not None}
        texts.append(json.dumps(known, ensure_ascii=False, sort_keys=True) if known else None)
    return pl.Series("meta", texts, pl.String), gone


def _kept(value: Any, gone: Counter[str]) -> Any:
    if isinstance(value, list):
        return [_kept(item, gone) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, item in value.items():
        if kind := personal_kind(name):
            gone[kind] += item is not None
        else:
            kept[name] = _kept(item, gone)
    return kept

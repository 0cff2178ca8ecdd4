"""The layout of a platform's rows: that of any table of votes, and the columns that only readers of platforms write."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from annotations.readers.columns import Layout, detect
from schemas.config import Mapping

OWN = ("control", "reject", "reject_text")
MODELS = {"model_a": "model_left", "model_b": "model_right"}


def layout_of(where: str, sample: pl.DataFrame, mapping: Mapping) -> Layout:
    """How to read rows that a platform's reader wrote. Raises CurateError as ``detect`` does."""
    beside = [name for name in (*OWN, *MODELS.values()) if name in sample.columns]
    sided = {"left", "right"}.issubset(sample.columns)
    layout = detect(where, sample.drop(beside if sided else [name for name in beside if name in OWN]), mapping)
    columns = {name: name for name in OWN if name in sample.columns}
    if sided and layout.columns.get("first") == "left":
        columns |= {field: name for field, name in MODELS.items() if name in sample.columns}
    return replace(layout, columns={**layout.columns, **columns})

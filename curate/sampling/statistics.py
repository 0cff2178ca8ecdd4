"""What the items of a config say together: how difficult and how certain they are, and what a guess would score."""

from __future__ import annotations

from typing import Any

import polars as pl

from schemas.items import DIFFICULTIES


def item_figures(items: pl.DataFrame) -> dict[str, Any]:
    """difficulty: level -> items; confidence: their mean, None where no item has one; floor: what a judge who guesses
    would score, None where no item has a best. items: the columns of ``schemas.items``."""
    levels = dict(items["difficulty"].value_counts().iter_rows())
    sizes = items.filter(pl.col("best").is_not_null())["response_ids"].list.len().to_numpy()
    return {
        "difficulty": {name: levels.get(name, 0) for name in DIFFICULTIES},
        "confidence": items["confidence"].mean(),
        "floor": float((1 / sizes).mean()) if len(sizes) else None,
    }

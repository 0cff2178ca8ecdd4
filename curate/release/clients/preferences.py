"""The preference pairs of a release, as all trainers of preferences take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from curate.release.clients.base import Source
from curate.release.tables import PAIRWISE, SPLITS, TRAIN_PAIRWISE, side_of

COLUMNS = (
    "item_id",
    "prompt_id",
    "prompt",
    "medium",
    "kind",
    "chosen",
    "rejected",
    "chosen_model",
    "rejected_model",
    "confidence",
    "margin",
)

TEXTS = ("prompt", "chosen", "rejected")


def preference_splits(source: Source) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield train and its pairs, then test and its pairs if there are any, in the order of the release.

    A pair has the columns COLUMNS: ids, texts and models, medium and kind (``Source.table``), and confidence and margin
    of ``schemas.items``. Raises CurateError without training pairs.
    """
    for config in (TRAIN_PAIRWISE, PAIRWISE):
        if config == TRAIN_PAIRWISE or source.has(config):
            yield SPLITS[side_of(config)], _pairs(source.table(config))


def _pairs(items: pl.DataFrame) -> pl.DataFrame:
    best, other = pl.col("best"), 1 - pl.col("best")
    return items.select(
        "item_id",
        "prompt_id",
        "prompt",
        "medium",
        "kind",
        "confidence",
        "margin",
        chosen=pl.col("responses").list.get(best),
        rejected=pl.col("responses").list.get(other),
        chosen_model=pl.col("models").list.get(best),
        rejected_model=pl.col("models").list.get(other),
    ).select(COLUMNS)


def contains_any(columns: Iterable[str], tags: Iterable[str]) -> pl.Expr:
    """Return whether one of the columns contains one of the texts, which a client would replace."""
    return pl.any_horizontal(pl.col(column).str.contains_any(list(tags)) for column in columns)


def media_columns(rows: pl.DataFrame) -> list[str]:
    """Return videos, images: those of which a row has one. rows: with the column kind."""
    kinds = set(rows["kind"])
    return [f"{kind}s" for kind in ("video", "image") if kind in kinds]

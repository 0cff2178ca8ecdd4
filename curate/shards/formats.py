"""Output formats of items, one function each: Parquet shards, the official trainer's JSONL, TRL and RewardBench 2.

A new format that is a table converted from an item config is one entry of ``derived_formats``: the build writes it,
``verify`` recomputes it, and the card describes it. WebDataset shards, which hold media, are in
``curate.release.media``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.media.frames import IMAGE_SUFFIXES
from curate.shards.atomic import describe
from schemas.items import ITEM_COLUMNS, JSONL_KEYS
from schemas.manifest import ManifestFile

ROW_GROUP = 1000
"""Rows of a row group: fixed, so that equal items give equal bytes."""

TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "list<string>": pa.list_(pa.string()),
    "list<int32>": pa.list_(pa.int32()),
    "list<float64>": pa.list_(pa.float64()),
}
SCHEMA = pa.schema([(column.name, TYPES[column.type]) for column in ITEM_COLUMNS])
IMAGE = "(" + "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES) + ")$"
CONVERSATION = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TEXTS = pa.list_(pa.string())


def write_shards(
    folder: Path, name: str, items: pl.DataFrame, *, rows_per_shard: int, schema: pa.Schema = SCHEMA
) -> list[ManifestFile]:
    """Write the items as ``NAME-00000-of-00012.parquet``, … in their order.

    items: at least one row with the columns of the schema (default: those of ``schemas.items``), in any order.
    """
    table = items.select(schema.names).to_arrow().cast(schema)
    shards = -(-len(items) // rows_per_shard)
    files = []
    for shard in range(shards):
        part = table.slice(shard * rows_per_shard, rows_per_shard)
        path = folder / f"{name}-{shard:05d}-of-{shards:05d}.parquet"
        pq.write_table(part, path, compression="zstd", row_group_size=ROW_GROUP)
        files.append(describe(path, part.num_rows))
    return files


def write_jsonl(folder: Path, name: str, items: pl.DataFrame) -> ManifestFile:
    """Write the items as ``NAME.jsonl``, one object per line with the keys of the official trainer."""
    path = folder / f"{name}.jsonl"
    official(items).write_ndjson(path)
    return describe(path, len(items))


def official(items: pl.DataFrame) -> pl.DataFrame:
    """Return the items in the format of the trainer of arXiv 2604.10966: the columns of JSONL_KEYS.

    A path in the column video with the suffix of an image becomes the column image.
    """
    is_image = pl.col("video").str.to_lowercase().str.contains(IMAGE)
    return items.select(
        "prompt",
        "responses",
        rankings=pl.col("ranks"),
        image=pl.when(is_image).then("video"),
        video=pl.when(is_image.not_()).then("video"),
    ).select(JSONL_KEYS)


def trl_preferences(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return one row per pair in TRL's preference format (conversational, explicit prompt): prompt, chosen, rejected.

    pairs: items of two responses with different ranks; other columns, such as those of media, are kept.
    """
    best, other = pl.col("best"), 1 - pl.col("best")
    return pairs.with_columns(
        prompt=conversation("user", pl.col("prompt")),
        chosen=conversation("assistant", pl.col("responses").list.get(best)),
        rejected=conversation("assistant", pl.col("responses").list.get(other)),
        chosen_model=pl.col("models").list.get(best),
        rejected_model=pl.col("models").list.get(other),
    )


def conversation(role: str, content: pl.Expr) -> pl.Expr:
    """Return the expression of a conversation of one message."""
    return pl.concat_list(pl.struct(role=pl.lit(role, pl.String), content=content))


def best_of(items: pl.DataFrame) -> pl.DataFrame:
    """Return one row per item in the manner of allenai/reward-bench-2: the best is chosen, the others are rejected.

    Its num_correct is num_preferred here, since responses that are not preferred may be correct too. models: that of
    the chosen response first. subset: the difficulty. items: each with a strictly best response; other columns are
    kept.
    """
    best = pl.col("best").cast(pl.Int64)
    size = pl.col("responses").list.len().cast(pl.Int64)

    def split(column: str) -> tuple[pl.Expr, pl.Expr]:
        values = pl.col(column)
        before, after = values.list.slice(0, best), values.list.slice(best + 1, size)
        return values.list.slice(best, 1), pl.concat_list(before, after)

    chosen, rejected = split("responses")
    first, others = split("models")
    return items.with_columns(
        id=pl.col("item_id"),
        chosen=chosen,
        rejected=rejected,
        num_preferred=pl.lit(1, pl.Int32),
        total_completions=size.cast(pl.Int32),
        models=pl.concat_list(first, others),
        subset=pl.col("difficulty"),
    )


@dataclass(frozen=True)
class Derived:
    """A config of a release that is another config's items in another format."""

    config: str
    source: str
    """The item config."""
    convert: Callable[[pl.DataFrame], pl.DataFrame]
    columns: tuple[pa.Field, ...]
    """Without those of media, which every table has."""
    description: str
    """One sentence, for the card."""
    meanings: Mapping[str, str]
    """Of the columns that items do not have, or that mean something else in them."""
    null_image: bool = True
    """Whether the table has a column image in a release without images."""


@cache
def derived_formats(responses: int) -> tuple[Derived, ...]:
    """Return the derived formats of a release whose items have this number of responses."""
    return (
        Derived(
            "train_preferences",
            "train_pairwise",
            trl_preferences,
            (
                pa.field("item_id", pa.string()),
                pa.field("prompt_id", pa.string()),
                pa.field("prompt", CONVERSATION),
                pa.field("chosen", CONVERSATION),
                pa.field("rejected", CONVERSATION),
                pa.field("chosen_model", pa.string()),
                pa.field("rejected_model", pa.string()),
                pa.field("confidence", pa.float64()),
            ),
            "the pairs of train_pairwise as conversations: `prompt`, `chosen`, `rejected`.",
            {
                "prompt": "the question, as a conversation of one message",
                "chosen": "the preferred response, as a conversation of one message",
                "rejected": "the other response, likewise",
                "chosen_model": "the model of the preferred response; null if unknown",
                "rejected_model": "the model of the other; null if unknown",
            },
            null_image=False,  # TRL's DPOTrainer takes every row for one with an image if there is such a column
        ),
        Derived(
            f"benchmark_best_of_{responses}",
            "benchmark",
            best_of,
            (
                pa.field("id", pa.string()),
                pa.field("prompt", pa.string()),
                pa.field("chosen", TEXTS),
                pa.field("rejected", TEXTS),
                pa.field("num_preferred", pa.int32()),
                pa.field("total_completions", pa.int32()),
                pa.field("models", TEXTS),
                pa.field("subset", pa.string()),
            ),
            f"the items of benchmark as best of {responses}: the preferred response is `chosen`, the others are "
            "`rejected`, although they may be correct too.",
            {
                "id": "item_id of the item",
                "chosen": "the preferred response: a list of one",
                "rejected": "the other responses, in the order shown",
                "num_preferred": "length of chosen: 1",
                "total_completions": "number of responses",
                "models": "the model of each, that of chosen first; null if unknown",
                "subset": "the difficulty of the item",
            },
        ),
    )


@cache
def derived_format(config: str) -> Derived | None:
    """Return the derived format of a config's name; None for other configs."""
    number = re.search(r"_best_of_(\d+)$", config)
    return next((found for found in derived_formats(int(number[1]) if number else 4) if found.config == config), None)

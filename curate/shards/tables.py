"""Items as files: Parquet shards for everyone, and JSONL beside them for the paper's official trainer."""

from __future__ import annotations

import re
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
IMAGE = "(" + "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES) + ")$"
SCHEMA = pa.schema([(column.name, TYPES[column.type]) for column in ITEM_COLUMNS])


def write_shards(
    folder: Path, name: str, items: pl.DataFrame, *, rows_per_shard: int, schema: pa.Schema = SCHEMA
) -> list[ManifestFile]:
    """Write the items as ``NAME-00000-of-00012.parquet``, … in their order.

    items: the columns of the schema (of ``schemas.items``, where none is given), in any order; at least one row.
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
    """Write the items as ``NAME.jsonl``: an object a line with the keys of the official trainer and no other."""
    path = folder / f"{name}.jsonl"
    official(items).write_ndjson(path)
    return describe(path, len(items))


def official(items: pl.DataFrame) -> pl.DataFrame:
    """The items as the official trainer reads them: the columns of JSONL_KEYS. What has the name of an image is one."""
    still = pl.col("video").str.to_lowercase().str.contains(IMAGE)
    return items.select(
        "prompt",
        "responses",
        rankings=pl.col("ranks"),
        image=pl.when(still).then("video"),
        video=pl.when(still.not_()).then("video"),
    ).select(JSONL_KEYS)

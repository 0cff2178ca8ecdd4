"""The tables of a release: configs, columns, how they are written and read, and how ``datasets`` loads them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.media.fingerprints import Fingerprint, unpack
from curate.media.frames import IMAGE_SUFFIXES
from curate.sampling.items import Rule
from curate.shards.atomic import describe
from curate.shards.formats import SCHEMA, derived_format
from schemas.items import REMOVED_COLUMNS, RENAMED_COLUMNS
from schemas.manifest import ManifestFile
from schemas.release import MediaAs, Release, ReleaseConfig, Side

TRAIN, TRAIN_PAIRWISE, TRAIN_FULL = "train", "train_pairwise", "train_full"
BENCHMARK, PAIRWISE, FULL = "benchmark", "benchmark_pairwise", "benchmark_full"
ITEM_CONFIGS = (TRAIN, TRAIN_PAIRWISE, TRAIN_FULL, BENCHMARK, PAIRWISE, FULL)
"""Configs of items; each also has a JSONL file."""
PROMPTS, MEDIA = "prompts", "metadata"
"""Tables of one file each, of prompts and of media. datasets finds the table of media by this name."""

Tables = Mapping[str, pl.DataFrame]
"""config -> rows."""

MEDIUM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A video or an image as datasets stores it."""
ITEM_FIELDS = tuple(field for field in SCHEMA if field.name != "video")
PROMPT_FIELDS = (
    pa.field("prompt_id", pa.string()),
    pa.field("split", pa.string()),
    pa.field("question", pa.string()),
    pa.field("media_name", pa.string()),
    pa.field("votes", pa.int64()),
    pa.field("annotators", pa.int64()),
    pa.field("responses", pa.int32()),
    pa.field("pairs_covered", pa.int32()),
    pa.field("pairs_possible", pa.int32()),
    pa.field("agreement", pa.float64()),
    pa.field("expected_tau", pa.float64()),
)
MEDIA_FIELDS = (
    pa.field("media_name", pa.string()),
    pa.field("split", pa.string()),
    pa.field("kind", pa.string()),
    pa.field("bytes", pa.int64()),
    pa.field("duration", pa.float64()),
    pa.field("fps", pa.float64()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("frames", pa.int64()),
    pa.field("codec", pa.string()),
    pa.field("phash", pa.list_(pa.string())),  # hex: datasets reads no integer above 2^63 − 1
    pa.field("fingerprint", pa.string()),  # base64
)
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".mpeg")
"""Suffixes that the loader ``videofolder`` of datasets takes for videos."""
SPLITS = {"train": "train", "benchmark": "test"}
"""side -> name of its split in datasets."""


def side_of(config: str) -> Side:
    """Return the side that a config belongs to."""
    return "train" if config.startswith("train") else "benchmark"


def rules_of(config: ReleaseConfig, side: Side) -> tuple[Rule, Rule, Rule]:
    """Return the sampling rules of one side: items of several responses, pairs, and full rankings (one per prompt)."""
    several, pairs, full = (TRAIN, TRAIN_PAIRWISE, TRAIN_FULL) if side == "train" else (BENCHMARK, PAIRWISE, FULL)
    items = config.train_items_per_prompt if side == "train" else config.benchmark_items_per_prompt
    strict = side == "benchmark"
    return (
        Rule(several, config.responses, items, strict),
        Rule(pairs, 2, items, strict),
        Rule(full, 0, 1, strict=False, repeat_texts=True),
    )


@cache
def schema_of(config: str, media_as: MediaAs, loader: str, *, images: bool = True) -> pa.Schema:
    """Return the columns of a config's table.

    loader: as returned by ``loader_of``. images: whether the release has images.
    """
    derived = derived_format(config)
    own = {PROMPTS: PROMPT_FIELDS, MEDIA: MEDIA_FIELDS}.get(config, derived.columns if derived else ITEM_FIELDS)
    embedded = media_as == "embedded" and config not in (PROMPTS, MEDIA)
    medium = MEDIUM if embedded else pa.string()
    fields = [*own, pa.field("video", medium)]
    if images or derived is None or derived.null_image:
        fields.append(pa.field("image", medium))
    fields.append(pa.field("media_sha256", pa.string()))
    if loader in ("videofolder", "imagefolder"):
        fields.append(pa.field("video_file_name" if loader == "videofolder" else "image_file_name", pa.string()))
    return pa.schema(fields)


def write_table(folder: Path, name: str, rows: pl.DataFrame, schema: pa.Schema) -> ManifestFile:
    """Write a table of one file, ``NAME.parquet``."""
    path = folder / f"{name}.parquet"
    pq.write_table(rows.select(schema.names).to_arrow().cast(schema), path, compression="zstd")
    return describe(path, len(rows))


def read_table(path: Path) -> pa.Table:
    """Return a table of a release; columns of earlier versions get their current names and types.

    Raises OSError and pyarrow.ArrowException.
    """
    table = pq.read_table(path)
    table = table.drop_columns([name for name in REMOVED_COLUMNS if name in table.column_names])
    table = table.rename_columns([RENAMED_COLUMNS.get(name, name) for name in table.column_names])
    place = table.schema.get_field_index("phash")
    if place >= 0 and table.schema.field(place).type.equals(pa.list_(pa.uint64())):  # until 0.2
        texts = [None if row is None else [f"{value:016x}" for value in row] for row in table["phash"].to_pylist()]
        table = table.set_column(place, "phash", pa.array(texts, pa.list_(pa.string())))
    if place >= 0 and "fingerprint" not in table.column_names:  # until 0.2
        table = table.add_column(place + 1, "fingerprint", pa.nulls(len(table), pa.string()))
    return table


def hash_values(texts: Sequence[str] | None) -> tuple[int, ...]:
    """Return the perceptual hashes of a row of the media table as numbers."""
    return tuple(int(text, 16) for text in texts or ())


def fingerprint_bytes(text: str | None) -> Fingerprint:
    """Return the fingerprint of a row of the media table; empty if it has none. Raises ValueError."""
    stored = base64.b64decode(text or "", validate=True)
    unpack(stored)
    return stored


def tables_of(config: str, paths: Sequence[str]) -> list[str]:
    """Return the Parquet files of a config, in order."""
    if config in (PROMPTS, MEDIA):
        return [f"{config}.parquet"]
    return sorted(path for path in paths if path.startswith(f"{config}-") and path.endswith(".parquet"))


def loader_of(paths: Sequence[str], media_as: MediaAs) -> str:
    """Return the loader of datasets: videofolder or imagefolder, which return absolute paths of media, or parquet.

    paths: the files of the release. datasets uses one loader for all configs of a folder.
    """
    if media_as != "files":
        return "parquet"
    found = {f".{path.rpartition('.')[2].lower()}" for path in paths if path.startswith("media/")}
    if found & set(VIDEO_SUFFIXES):
        return "videofolder"
    return "imagefolder" if found & set(IMAGE_SUFFIXES) else "parquet"


def loader_of_release(release: Release) -> str:
    """Return the loader of a release."""
    return loader_of([file.path for file in release.files], release.media_as)


def schema_in(release: Release, config: str) -> pa.Schema:
    """Return the columns of a config's table in a release."""
    images = release.counts.get("media_kinds", {}).get("image") != 0  # unknown in releases of earlier versions
    return schema_of(config, release.media_as, loader_of_release(release), images=images)


def loader_version(version: str) -> str:
    """Return the digest as a version of three numbers, which datasets requires and uses as its cache key."""
    return f"0.0.{int(version[:8], 16)}"

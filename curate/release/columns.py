"""Which columns each table of a release has, for each way of giving the media with it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from curate.shards.tables import SCHEMA
from schemas.release import MediaAs

TRAIN, TRAIN_PAIRWISE, TRAIN_FULL, PREFERENCES = "train", "train_pairwise", "train_full", "train_preferences"
BENCHMARK, PAIRWISE, FULL = "benchmark", "benchmark_pairwise", "benchmark_full"
ITEM_CONFIGS = (TRAIN, TRAIN_PAIRWISE, TRAIN_FULL, BENCHMARK, PAIRWISE, FULL)
"""Configs of items, each with a JSONL file beside it."""
PROMPTS, MEDIA = "prompts", "metadata"
"""Tables of one file each, of prompts and of media. datasets knows a table of media by its name."""


def side_of(config: str) -> str:
    """train or benchmark."""
    return "train" if config.startswith("train") else "benchmark"


def best_of(responses: int) -> str:
    """The name of the config in the format of RewardBench 2."""
    return f"benchmark_best_of_{responses}"


MEDIUM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A video or an image as datasets stores it."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
"""A conversation."""
TEXTS = pa.list_(pa.string())

OWN: dict[str, list[pa.Field]] = {
    "items": [field for field in SCHEMA if field.name != "video"],
    "preferences": [
        pa.field("item_id", pa.string()),
        pa.field("prompt_id", pa.string()),
        pa.field("prompt", MESSAGES),
        pa.field("chosen", MESSAGES),
        pa.field("rejected", MESSAGES),
        pa.field("chosen_model", pa.string()),
        pa.field("rejected_model", pa.string()),
        pa.field("confidence", pa.float64()),
    ],
    "best_of": [
        pa.field("id", pa.string()),
        pa.field("prompt", pa.string()),
        pa.field("chosen", TEXTS),
        pa.field("rejected", TEXTS),
        pa.field("num_correct", pa.int32()),
        pa.field("num_incorrect", pa.int32()),
        pa.field("total_completions", pa.int32()),
        pa.field("models", TEXTS),
        pa.field("subset", pa.string()),
    ],
    "prompts": [
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
    ],
    "media": [
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
        pa.field("phash", pa.list_(pa.uint64())),
    ],
}
"""What each kind of table has, its media left out."""

MEANINGS = {
    "video": "its video: a path from this folder, or its bytes; null when it has none",
    "image": "its image, likewise",
    "media_sha256": "digest of the video's or image's bytes; null where they are not in the release",
    "video_file_name": "the same path as video, under the name from which datasets opens it",
    "image_file_name": "the same path as image, likewise",
    "media_name": "the video's or image's name as it was ingested",
}
"""Of the columns that a release adds to those of ``schemas.items``."""


def kind_of(config: str) -> str:
    """Which of OWN the config's table is."""
    if config in (PROMPTS, MEDIA):
        return {PROMPTS: "prompts", MEDIA: "media"}[config]
    if config == PREFERENCES:
        return "preferences"
    return "best_of" if config.startswith("benchmark_best_of_") else "items"


def schema_of(config: str, media_as: MediaAs, loader: str) -> pa.Schema:
    """The columns of a config's table. loader: as of ``curate.release.loading.loader_of``."""
    kind = kind_of(config)
    inside = media_as == "inside" and kind != "prompts" and kind != "media"
    medium = MEDIUM if inside else pa.string()
    fields = [*OWN[kind], pa.field("video", medium), pa.field("image", medium), pa.field("media_sha256", pa.string())]
    if loader in ("videofolder", "imagefolder"):
        fields.append(pa.field("video_file_name" if loader == "videofolder" else "image_file_name", pa.string()))
    return pa.schema(fields)


def features(schema: pa.Schema, loader: str) -> list[dict[str, Any]]:
    """The columns as the front matter of a card names them to datasets. Media are handed out undecoded: each as its
    path and bytes, which any decoder opens."""
    named = [field for field in schema if not field.name.endswith("_file_name")]
    media = {"videofolder": ("video",), "imagefolder": ("image",)}.get(loader, ())
    return [
        {"name": field.name, **_feature(field.type, medium=field.name if field.name in media else "")}
        if not pa.types.is_struct(field.type)
        else {"name": field.name, "dtype": {field.name: {"decode": False}}}
        for field in named
    ]


def _feature(kind: pa.DataType, *, medium: str = "") -> dict[str, Any]:
    if medium:
        return {"dtype": {medium: {"decode": False}}}
    if pa.types.is_list(kind):
        inner = kind.value_type
        if pa.types.is_struct(inner):
            return {"list": [{"name": field.name, **_feature(field.type)} for field in inner]}
        return {"list": _feature(inner)["dtype"]}
    return {"dtype": "float64" if pa.types.is_floating(kind) else str(kind)}

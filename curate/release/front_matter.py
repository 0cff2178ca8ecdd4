"""The front matter of a release's card: what the Hub shows and searches, and how datasets loads each config.

Values are JSON, which is valid YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from curate.media.frames import IMAGE_SUFFIXES
from curate.release.tables import (
    BENCHMARK,
    MEDIA,
    PROMPTS,
    SPLITS,
    VIDEO_SUFFIXES,
    loader_of_release,
    loader_version,
    schema_in,
    side_of,
    tables_of,
)
from schemas.release import Release, ReleaseConfig

LICENCES = re.compile(
    r"afl-3\.0|agpl-3\.0|apache-2\.0|artistic-2\.0|bsd(-[23]-clause)?|bsl-1\.0|c-uda|cc|cc0-1\.0|cc-by-(2\.0|2\.5|3\.0|4\.0)"
    r"|cc-by-sa-[34]\.0|cc-by-nc-[234]\.0|cc-by-nd-4\.0|cc-by-nc-nd-[34]\.0|cc-by-nc-sa-[234]\.0|cdla-sharing-1\.0"
    r"|cdla-permissive-[12]\.0|etalab-2\.0|eupl-1\.[12]|gfdl|gpl(-[23]\.0)?|isc|lgpl(-2\.1|-3\.0)?|mit|mpl-2\.0|odbl|odc-by"
    r"|openrail|pddl|unknown|unlicense|wtfpl|zlib"
)
"""Identifiers of licences of data that the Hub knows; it refuses cards with others (its documentation, "Licenses")."""
TASKS = {"video": "video-text-to-text", "image": "image-text-to-text", "": "question-answering"}
"""kind of media -> the Hub's category of the task."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


def front_matter(configs: Sequence[str], release: Release, config: ReleaseConfig) -> list[str]:
    """Return the lines between the marks ``---``. configs: that have items."""
    return [*_about(release, config), "configs:", *_configs(configs, release)]


def _about(release: Release, config: ReleaseConfig) -> list[str]:
    """Return what the Hub shows beside the card, and searches."""
    kinds = [kind for kind, number in release.counts.get("media_kinds", {}).items() if number]
    items = sum(release.counts["items"][name] for name in release.counts["candidates"])
    size = next((name for limit, name in SIZES if items < limit), "n>10M")
    lines = []
    if LICENCES.fullmatch(config.licence.lower()):
        lines = [f"license: {json.dumps(config.licence.lower())}"]
    elif config.licence:
        name = re.sub(r"[^a-z0-9.]+", "-", config.licence.lower()).strip("-")
        lines = ["license: other", f"license_name: {json.dumps(name)}"]
    return [
        *lines,
        *([f"language: {json.dumps(list(config.language))}"] if config.language else []),
        f"pretty_name: {json.dumps(release.label)}",
        f"task_categories: {json.dumps([TASKS[kind] for kind in kinds or ['']])}",
        f"size_categories: {json.dumps([size])}",
        f"tags: {json.dumps(['preference', 'reward-model', 'benchmark', *kinds])}",
    ]


def _configs(configs: Sequence[str], release: Release) -> list[str]:
    """Return the entries of the configs.

    datasets chooses the loader by the file names of the first config, so that of the media is first if it has files.
    Every config lists the media, because datasets downloads from the Hub only what a config lists.
    """
    paths = [file.path for file in release.files]
    loader = loader_of_release(release)
    media = [MEDIA] if f"{MEDIA}.parquet" in paths else []
    named = [*configs, PROMPTS, *media] if loader == "parquet" else [*media, *configs, PROMPTS]
    default = BENCHMARK if BENCHMARK in configs else configs[0]
    suffixes = {"videofolder": VIDEO_SUFFIXES, "imagefolder": IMAGE_SUFFIXES}.get(loader, ())
    found = sorted({PurePosixPath(path).suffix for path in paths if path.startswith("media/")})
    media_files = [f"media/*{suffix}" for suffix in found if suffix.lower() in suffixes]
    lines = []
    for config in named:
        tables = tables_of(config, paths)
        split = SPLITS[side_of(config)] if config not in (MEDIA, PROMPTS) else "rows"
        features = _features(schema_in(release, config), loader)
        lines += [
            f"- config_name: {json.dumps('media' if config == MEDIA else config)}",
            *(["  default: true"] if config == default else []),
            f"  version: {json.dumps(loader_version(release.version))}",
            f"  data_files: {json.dumps([{'split': split, 'path': [*tables, *media_files]}])}",
            f"  features: {json.dumps(features)}",
        ]
        if loader != "parquet":  # decode_num_threads: above 0, a stream decodes whatever the features say
            lines += [f"  metadata_filenames: {json.dumps(tables)}", "  decode_num_threads: 0"]
    return lines


def _features(schema: pa.Schema, loader: str) -> list[dict[str, Any]]:
    """Return the columns as features of datasets. Media are not decoded: rows hold a path and bytes."""
    media = {"videofolder": "video", "imagefolder": "image"}.get(loader, "")
    features = []
    for field in schema:
        if field.name == media or pa.types.is_struct(field.type):
            features.append({"name": field.name, "dtype": {field.name: {"decode": False}}})
        elif not field.name.endswith("_file_name"):
            features.append({"name": field.name, **_feature(field.type)})
    return features


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind):
        inner = kind.value_type
        if pa.types.is_struct(inner):
            return {"list": [{"name": field.name, **_feature(field.type)} for field in inner]}
        return {"list": _feature(inner)["dtype"]}
    return {"dtype": "float64" if pa.types.is_floating(kind) else str(kind)}

"""How ``datasets`` opens a release: by which of its loaders, and the configs in the card's front matter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from curate.media.frames import IMAGE_SUFFIXES
from curate.release.columns import BENCHMARK, MEDIA, PROMPTS, features, schema_of, side_of
from schemas.manifest import ManifestFile
from schemas.release import MediaAs

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".mpeg")
"""What the loader ``videofolder`` of datasets takes for a video by its name."""
SPLITS = {"train": "train", "benchmark": "test"}
"""side -> the name of its split among datasets people."""


def loader_of(paths: Sequence[str], media_as: MediaAs) -> str:
    """videofolder or imagefolder, which hand out the media's whole paths; parquet, which hands out what is stored.

    paths: of the files of the release. datasets takes one loader for all configs of a folder.
    """
    if media_as != "files":
        return "parquet"
    found = {PurePosixPath(path).suffix.lower() for path in paths if path.startswith("media/")}
    if found & set(VIDEO_SUFFIXES):
        return "videofolder"
    return "imagefolder" if found & set(IMAGE_SUFFIXES) else "parquet"


def front_matter(
    configs: Sequence[str], files: Sequence[ManifestFile], media_as: MediaAs, *, version: str
) -> list[str]:
    """The lines of ``configs:``. Each value is JSON, which YAML is not troubled by.

    The first config makes datasets choose the loader, by the names of its files: that of the media comes first.
    """
    paths = [file.path for file in files]
    loader = loader_of(paths, media_as)
    named = [*((MEDIA,) if f"{MEDIA}.parquet" in paths else ()), *configs, PROMPTS]
    if loader == "parquet":
        named = [*configs, PROMPTS, *((MEDIA,) if f"{MEDIA}.parquet" in paths else ())]
    default = BENCHMARK if BENCHMARK in configs else configs[0]
    lines = ["configs:"]
    for config in named:
        tables = tables_of(config, paths)
        patterns = tables
        if config == MEDIA and loader != "parquet":
            suffixes = VIDEO_SUFFIXES if loader == "videofolder" else IMAGE_SUFFIXES
            found = sorted({PurePosixPath(path).suffix for path in paths if path.startswith("media/")})
            patterns = [*tables, *(f"media/*{suffix}" for suffix in found if suffix.lower() in suffixes)]
        split = SPLITS[side_of(config)] if config not in (MEDIA, PROMPTS) else "rows"
        lines += [
            f"- config_name: {json.dumps('media' if config == MEDIA else config)}",
            *(["  default: true"] if config == default else []),
            f"  version: {json.dumps(loader_version(version))}",
            f"  data_files: {json.dumps([{'split': split, 'path': patterns}])}",
            f"  features: {json.dumps(features(schema_of(config, media_as, loader), loader))}",
            *([f"  metadata_filenames: {json.dumps(tables)}"] if loader != "parquet" else []),
        ]
    return lines


def tables_of(config: str, paths: Sequence[str]) -> list[str]:
    """The Parquet files of a config, in order."""
    if config in (PROMPTS, MEDIA):
        return [f"{config}.parquet"]
    return sorted(path for path in paths if path.startswith(f"{config}-") and path.endswith(".parquet"))


def loader_version(version: str) -> str:
    """The digest as a version of three numbers, which is what datasets asks for and caches by."""
    return f"0.0.{int(version[:8], 16)}"

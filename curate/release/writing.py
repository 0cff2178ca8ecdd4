"""The files of a release, in the order in which they are written: tables, formats, media, card, manifest last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from curate.release.card import card
from curate.release.columns import (
    BENCHMARK,
    ITEM_CONFIGS,
    MEDIA,
    PREFERENCES,
    PROMPTS,
    TRAIN_PAIRWISE,
    best_of,
    schema_of,
    side_of,
)
from curate.release.croissant import croissant
from curate.release.loading import loader_of
from curate.release.media import MediaFacts, attach, copy_media, media_table, placed, read_same, write_tars
from curate.release.preferences import best_of_n, preferences
from curate.release.sealing import CARD, CROISSANT, data_version, sealed
from curate.sampling.items import Rule
from curate.shards.atomic import describe, write_manifest
from curate.shards.tables import official, write_jsonl, write_shards
from schemas.manifest import ManifestFile
from schemas.release import Release, ReleaseConfig


@dataclass(frozen=True)
class Contents:
    """What goes into a release."""

    items: Mapping[str, pl.DataFrame]
    """config -> its items; the columns of ``schemas.items``, video by its name in the store."""
    rules: tuple[Rule, ...]
    prompts: pl.DataFrame
    """What is known of all prompts of the store (``curate.store.releases.prompt_facts``)."""
    facts: Mapping[str, MediaFacts]
    """name -> sound media; none of them where the release does without."""

    @property
    def sides(self) -> dict[str, str]:
        """prompt -> train or benchmark, of the prompts with an item."""
        return {prompt: side_of(name) for name, frame in self.items.items() for prompt in frame["prompt_id"]}


def write_release(
    folder: Path, release: Release, contents: Contents, config: ReleaseConfig, number: Callable[[str], str]
) -> Release:
    """Write the release into the empty folder; its manifest as written, with its files, versions and seal.

    number: from the version that moves with the data to the one for people. A config without items gets no files:
    datasets cannot open a shard without rows.
    """
    media_as = release.media_as
    sides = contents.sides
    own = contents.prompts.filter(pl.col("prompt_id").is_in(sorted(sides)))
    named = {name: sides[prompt] for prompt, name in own.select("prompt_id", "video").iter_rows() if name}
    facts = {name: contents.facts[name] for name in sorted(named) if name in contents.facts}
    places = placed(sorted(named), facts, media_as)
    media = _write_media(folder, facts, named, places, contents, media_as, config)
    loader = loader_of([file.path for file in media], media_as)
    inside = None
    if media_as == "inside":
        inside = {f"media/{fact.member}": read_same(fact) for fact in facts.values()}
    files: list[ManifestFile] = []
    counts = dict(release.counts["items"])
    tables = {name: frame for name, frame in contents.items.items() if len(frame)}
    if TRAIN_PAIRWISE in tables:
        tables[PREFERENCES] = preferences(tables[TRAIN_PAIRWISE])
    if BENCHMARK in tables:
        tables[best_of(config.responses)] = best_of_n(tables[BENCHMARK])
    for name, frame in tables.items():
        counts[name] = len(frame)
        rows = attach(frame, places, contents=inside)
        schema = schema_of(name, media_as, loader)
        files += write_shards(folder, name, rows, rows_per_shard=config.rows_per_shard, schema=schema)
        if name in ITEM_CONFIGS:
            files.append(write_jsonl(folder, name, _on_paths(frame, places)))
    files.append(_write_table(folder, PROMPTS, attach(_with_split(own, sides), places), release, loader))
    if facts:
        files.append(_write_table(folder, MEDIA, media_table(places, facts, named), release, loader))
    files += media
    digest = data_version(files)
    release = release.model_copy(
        update={
            "files": tuple(sorted(files, key=lambda file: file.path)),
            "version": digest,
            "release": number(digest),
            "counts": release.counts | {"items": counts},
        }
    )
    configs = list(tables)
    rules = tuple(rule for rule in contents.rules if rule.name in tables)
    for path, text in (
        (folder / CARD, card(release, rules, config, configs)),
        (folder / CROISSANT, croissant(release, config, configs)),
    ):
        path.write_text(text, encoding="utf-8")
        files.append(describe(path))
    release = sealed(release.model_copy(update={"files": tuple(sorted(files, key=lambda file: file.path))}))
    write_manifest(folder, release)
    return release


def _write_media(
    folder: Path,
    facts: Mapping[str, MediaFacts],
    sides: Mapping[str, str],
    places: pl.DataFrame,
    contents: Contents,
    media_as: str,
    config: ReleaseConfig,
) -> list[ManifestFile]:
    """The files in media/, where the release has any."""
    paths: list[Path] = []
    if media_as == "files" and facts:
        paths = copy_media(folder, facts.values())
    if media_as == "webdataset":
        for side in ("train", "benchmark"):
            chosen = [fact for name, fact in facts.items() if sides[name] == side]
            if chosen:
                documents = _documents(contents, places, side)
                paths += write_tars(folder, side, chosen, documents, per_shard=config.videos_per_shard)
    return [describe(path, root=folder) for path in paths]


def _documents(contents: Contents, places: pl.DataFrame, side: str) -> dict[str, list[dict[str, Any]]]:
    """File name of a video -> its items of that side: config and item_id, then the keys of the trainer's JSONL."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, frame in contents.items.items():
        if side_of(name) != side:
            continue
        rows = _on_paths(frame, places)
        for item, row in zip(rows["item_id"], official(rows).iter_rows(named=True), strict=True):
            path = row["video"] or row["image"]
            if path:
                found.setdefault(path.rpartition("/")[2], []).append({"config": name, "item_id": item, **row})
    return found


def _on_paths(items: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """The items with the path of each video in the release in place of its name in the store."""
    paths = dict(places.select("name", "path").iter_rows())
    return items.with_columns(pl.col("video").replace_strict(paths, default=None, return_dtype=pl.String))


def _with_split(prompts: pl.DataFrame, sides: Mapping[str, str]) -> pl.DataFrame:
    return prompts.with_columns(split=pl.col("prompt_id").replace_strict(sides, return_dtype=pl.String))


def _write_table(folder: Path, name: str, rows: pl.DataFrame, release: Release, loader: str) -> ManifestFile:
    schema = schema_of(name, release.media_as, loader)
    path = folder / f"{name}.parquet"
    pq.write_table(rows.select(schema.names).to_arrow().cast(schema), path, compression="zstd")
    return describe(path, len(rows))

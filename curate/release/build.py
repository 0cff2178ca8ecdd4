"""Write a release: tables, derived formats, media, card, Croissant metadata, and the manifest last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine import Engine
from curate.release.card import release_card
from curate.release.croissant import croissant
from curate.release.figures import media_kinds
from curate.release.manifest import CARD, CROISSANT, HISTORY, data_version, sealed
from curate.release.media import MediaFacts, attach, copy_media, media_table, placed, read_unchanged, write_webdataset
from curate.release.tables import ITEM_CONFIGS, MEDIA, PROMPTS, loader_of, schema_of, side_of, write_table
from curate.sampling.items import Rule
from curate.shards.atomic import describe, write_manifest
from curate.shards.formats import derived_formats, official, write_jsonl, write_shards
from schemas.manifest import ManifestFile
from schemas.release import SIDES, Release, ReleaseConfig


@dataclass(frozen=True)
class Contents:
    """The content of a release."""

    items: Mapping[str, pl.DataFrame]
    """config -> its items; the columns of ``schemas.items``, video by its name in the store."""
    rules: tuple[Rule, ...]
    prompts: pl.DataFrame
    """Facts of all prompts of the store (``curate.store.exports.prompt_facts``)."""
    facts: Mapping[str, MediaFacts]
    """name -> usable media; empty for a release without media."""
    history: pl.DataFrame
    """As of ``curate.release.history.continued``."""

    @property
    def sides(self) -> dict[str, str]:
        """prompt -> train or benchmark, of the prompts with an item."""
        return {prompt: side_of(name) for name, frame in self.items.items() for prompt in frame["prompt_id"]}


def write_release(
    folder: Path,
    release: Release,
    contents: Contents,
    config: ReleaseConfig,
    number: Callable[[str], str],
    *,
    engine: Engine | None = None,
) -> Release:
    """Write the release into the empty folder; return its manifest with files, versions and seal.

    number: from the version of the data to the release number. A config without items gets no files, since datasets
    cannot load a shard without rows. engine: where media are copied; None: in this process.
    """
    media_as, sides = release.media_as, contents.sides
    prompts = contents.prompts.filter(pl.col("prompt_id").is_in(sorted(sides)))
    side_of_medium = {name: sides[prompt] for prompt, name in prompts.select("prompt_id", "video").iter_rows() if name}
    facts = {name: contents.facts[name] for name in sorted(side_of_medium) if name in contents.facts}
    places = placed(sorted(side_of_medium), facts, media_as)
    media = _write_media(folder, facts, side_of_medium, places, contents, config, release, engine)
    loader = loader_of([file.path for file in media], media_as)
    embedded = None
    if media_as == "embedded":
        embedded = {f"media/{fact.member}": read_unchanged(fact) for fact in facts.values()}

    tables = {name: frame for name, frame in contents.items.items() if len(frame)}
    tables |= {
        derived.config: derived.convert(tables[derived.source])
        for derived in derived_formats(config.responses)
        if derived.source in tables
    }
    files: list[ManifestFile] = []
    kinds = media_kinds(places["kind"])
    for name, frame in tables.items():
        rows = attach(frame, places, contents=embedded)
        schema = schema_of(name, media_as, loader, images=kinds["image"] > 0)
        files += write_shards(folder, name, rows, rows_per_shard=config.rows_per_shard, schema=schema)
        if name in ITEM_CONFIGS:
            files.append(write_jsonl(folder, name, _with_paths(frame, places)))
    prompts = prompts.with_columns(split=pl.col("prompt_id").replace_strict(sides, return_dtype=pl.String))
    files.append(write_table(folder, PROMPTS, attach(prompts, places), schema_of(PROMPTS, media_as, loader)))
    if facts:
        rows = media_table(places, facts, side_of_medium)
        files.append(write_table(folder, MEDIA, rows, schema_of(MEDIA, media_as, loader)))
    files += media

    digest = data_version(files)
    release = release.model_copy(
        update={
            "files": _sorted(files),
            "version": digest,
            "release": number(digest),
            "counts": release.counts
            | {
                "items": release.counts["items"] | {name: len(frame) for name, frame in tables.items()},
                "media_kinds": kinds,
            },
        }
    )
    history = contents.history.fill_null(release.release or release.version)
    history.with_columns(pl.all().replace("", None)).write_csv(folder / HISTORY)
    files.append(describe(folder / HISTORY, len(history)))
    release = release.model_copy(update={"files": _sorted(files)})
    for name, text in metadata_texts(release, config, contents.rules).items():
        (folder / name).write_text(text, encoding="utf-8")
        files.append(describe(folder / name))
    release = sealed(release.model_copy(update={"files": _sorted(files)}))
    write_manifest(folder, release)
    return release


def metadata_texts(release: Release, config: ReleaseConfig, rules: tuple[Rule, ...]) -> dict[str, str]:
    """Return the card and the Croissant metadata of a manifest. release: without these two files."""
    configs = [name for name, items in release.counts["items"].items() if items]
    rules = tuple(rule for rule in rules if rule.name in configs)
    return {CARD: release_card(release, rules, config, configs), CROISSANT: croissant(release, config, configs)}


def _sorted(files: list[ManifestFile]) -> tuple[ManifestFile, ...]:
    return tuple(sorted(files, key=lambda file: file.path))


def _write_media(
    folder: Path,
    facts: Mapping[str, MediaFacts],
    side_of_medium: Mapping[str, str],
    places: pl.DataFrame,
    contents: Contents,
    config: ReleaseConfig,
    release: Release,
    engine: Engine | None,
) -> list[ManifestFile]:
    """Write the files in media/, if the release has any."""
    files: list[ManifestFile] = []
    if release.media_as == "files" and facts:
        files = copy_media(folder, facts.values(), engine=engine)
    if release.media_as == "webdataset":
        for side in SIDES:
            chosen = [fact for name, fact in facts.items() if side_of_medium[name] == side]
            if chosen:
                items = _items_by_medium(contents, places, side)
                per_shard = config.videos_per_shard
                files += write_webdataset(folder, side, chosen, items, per_shard=per_shard, engine=engine)
    return files


def _items_by_medium(contents: Contents, places: pl.DataFrame, side: str) -> dict[str, list[dict[str, Any]]]:
    """Return file name of a video -> its items of that side: config, item_id and the keys of the trainer's JSONL."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, frame in contents.items.items():
        if side_of(name) != side:
            continue
        rows = _with_paths(frame, places)
        for item, row in zip(rows["item_id"], official(rows).iter_rows(named=True), strict=True):
            path = row["video"] or row["image"]
            if path:
                found.setdefault(path.rpartition("/")[2], []).append({"config": name, "item_id": item, **row})
    return found


def _with_paths(items: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Return the items with each video's path in the release instead of its name in the store."""
    paths = dict(places.select("name", "path").iter_rows())
    return items.with_columns(pl.col("video").replace_strict(paths, default=None, return_dtype=pl.String))

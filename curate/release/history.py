"""The items of a benchmark over the versions of a release: which are kept, since when, and why others were retired.

``history.csv`` of a numbered release has one row per item of ``benchmark`` and ``benchmark_pairwise`` and per time that
it was in: an item that was retired and drawn again later has two. Scores are comparable on items that two versions have
in common: question, media, responses, their order and the label are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from curate.release.manifest import HISTORY, number_parts, siblings
from curate.release.tables import BENCHMARK, PAIRWISE, PROMPTS, read_table, tables_of
from schemas.errors import CurateError
from schemas.release import Release, Stability

STABLE = (BENCHMARK, PAIRWISE)
"""Configs whose items are kept. Full rankings hold all responses of a prompt and follow the run."""
COLUMNS = ("config", "item_id", "prompt_id", "since", "retired_in", "reason")
"""since, retired_in: the first version with the item and the first one without it; retired_in and reason (why) are
empty for the items of the release."""
KEPT = ("prompt", "response_ids", "responses", "best")
"""Columns that are the same in a kept item, apart from its media."""
REDRAWN, TEXT, MEDIUM, NOT_RANKED = "redrawn", "text changed", "media changed", "prompt not ranked"


@dataclass(frozen=True)
class Previous:
    """The version of a release whose benchmark items may be kept."""

    label: str
    version: str
    number: str
    """Its release number; without one, its version."""
    items: Mapping[str, pl.DataFrame]
    """config -> item_id, prompt_id, prompt, response_ids, responses, best, media_name, media_sha256."""
    history: pl.DataFrame
    """COLUMNS, up to this version."""


def previous_version(
    name: str, number: str, parent: Path, given: Sequence[tuple[Path, Release]]
) -> list[tuple[Path, Release]]:
    """Return the releases of a name, below a number, in the folder of releases or given; the highest number last.

    number: "next" for all. Without a number the order of releases is unknown, and only the one given last counts.
    """
    own = [(path, release) for path, release in given if release.name == name]
    if not number:
        return own[-1:]
    known = {release.label: (path, release) for path, release in [*siblings(parent), *own] if release.name == name}
    below = [
        found
        for found in known.values()
        if found[1].release and (number == "next" or number_parts(found[1].release) < number_parts(number))
    ]
    return sorted(below, key=lambda found: number_parts(found[1].release))


def read_previous(folder: Path, release: Release) -> Previous:
    """Return the benchmark items of a release, and their history. Raises CurateError if they cannot be read."""
    paths = [file.path for file in release.files]
    try:
        names = pl.read_parquet(folder / f"{PROMPTS}.parquet", columns=["prompt_id", "media_name"])
        items = {}
        for config in STABLE:
            parts = [pl.from_arrow(read_table(folder / path)) for path in tables_of(config, paths)]
            if parts:
                columns = ["item_id", "prompt_id", *KEPT, "media_sha256"]
                frame = pl.concat([part.select(columns) for part in parts if isinstance(part, pl.DataFrame)])
                items[config] = frame.join(names, on="prompt_id", how="left", maintain_order="left")
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise CurateError(f"{folder}: its items cannot be read: {error}", hint="curate release verify") from error
    number = release.release or release.version
    history = read_history(folder, release)
    if history is None:  # of an earlier version of curate
        rows = [(config, *row) for config, frame in items.items() for row in frame.select(COLUMNS[1:3]).iter_rows()]
        history = _table([(*row, number, "", "") for row in rows])
    return Previous(release.label, release.version, number, items, history)


def read_history(folder: Path, release: Release) -> pl.DataFrame | None:
    """Return the history of a release; None if it has none. Raises CurateError if it cannot be read."""
    if HISTORY not in {file.path for file in release.files}:
        return None
    try:
        return pl.read_csv(folder / HISTORY, infer_schema=False).select(COLUMNS).fill_null("")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CurateError(f"{folder / HISTORY}: cannot be read: {error}", hint="curate release verify") from error


def unchanged(
    items: pl.DataFrame,
    ranked: pl.DataFrame,
    media: Mapping[str, tuple[str | None, str | None]],
    excluded: Mapping[str, str],
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the previous items whose prompt, texts and media are as they were; and id -> reason of the others.

    items: of a config, as in ``Previous``. ranked: responses of the prompts of the benchmark. media: prompt -> public
    name and digest (None: unknown) of its video. excluded: prompt -> reason, of prompts that are not in the benchmark.
    """
    question = dict(ranked.select("prompt_id", "prompt").iter_rows())
    text = {(p, r): t for p, r, t in ranked.select("prompt_id", "response_id", "response").iter_rows()}
    retired: dict[str, str] = {}
    for row in items.iter_rows(named=True):
        prompt = row["prompt_id"]
        stated = zip(row["response_ids"], row["responses"], strict=True)
        name, sha256 = media.get(prompt, (None, None))
        if prompt not in question:
            retired[row["item_id"]] = excluded.get(prompt, NOT_RANKED)
        elif question[prompt] != row["prompt"] or any(text.get((prompt, r), t) != t for r, t in stated):
            retired[row["item_id"]] = TEXT
        elif sha256 != row["media_sha256"] if sha256 and row["media_sha256"] else name != row["media_name"]:
            retired[row["item_id"]] = MEDIUM
    return items.filter(~pl.col("item_id").is_in(list(retired))), retired


def continued(
    previous: Previous | None, items: Mapping[str, pl.DataFrame], retired: Mapping[str, Mapping[str, str]]
) -> pl.DataFrame:
    """Return the history with the next version, whose number is null until it is known.

    items: config -> its items. retired: config -> id -> reason, of the previous items that are not kept.
    """
    rows = []
    current: set[tuple[str, str]] = set()
    for config, item, prompt, since, until, reason in previous.history.iter_rows() if previous else ():
        why = retired.get(config, {}).get(item)
        ends = not reason and why
        rows.append((config, item, prompt, since, None if ends else until, why if ends else reason))
        if not reason and not why:
            current.add((config, item))
    for config in STABLE:
        frame = items[config].select("item_id", "prompt_id") if config in items else pl.DataFrame()
        rows += [(config, *row, None, "", "") for row in frame.iter_rows() if (config, row[0]) not in current]
    return _table(rows)


def _table(rows: Sequence[tuple[str | None, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def stability_of(history: pl.DataFrame, name: str, previous: str, number: str | None) -> dict[str, Stability]:
    """Return config -> which items of the previous version are kept, by the history of a release.

    previous, number: of the previous version and of the release, as in the history; None where that is not known yet.
    """
    found = {}
    versions = dict.fromkeys((*history["since"].drop_nulls().unique(maintain_order=True), previous))
    for config in STABLE:
        own = history.filter(pl.col("config") == config)
        if own.is_empty():
            continue
        is_own = {name: pl.col(name).is_null() if number is None else pl.col(name) == number for name in COLUMNS[3:5]}
        ended, new = own.filter(is_own["retired_in"]), own.filter(is_own["since"])
        kept = own.filter((pl.col("reason") == "") & ~is_own["since"])
        total, common = 0, {}
        counts = Counter(kept["since"])
        for version in versions:
            total += counts[version]
            if version != number:
                common[version] = total
        found[config] = Stability(
            previous=f"{name}-{previous}",
            before=len(kept) + len(ended),
            kept=len(kept),
            retired=dict(sorted(Counter(ended["reason"]).items(), key=lambda pair: (-pair[1], pair[0]))),
            new=len(new),
            common=common,
        )
    return found

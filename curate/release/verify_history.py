"""Verification of a release's history: it lists the items, and kept items are those of the previous version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from curate.release.history import KEPT, STABLE, read_history, read_previous, stability_of
from curate.release.manifest import HISTORY, read_release, siblings
from curate.release.tables import Tables
from schemas.errors import CurateError
from schemas.release import Finding, Release


def history_findings(
    folder: Path, release: Release, tables: Tables, previous: Sequence[Path], notes: list[str]
) -> tuple[int, list[Finding]]:
    """Return the number of rows of the history, and findings.

    previous: folders of earlier releases; the previous version is also looked for beside the release.
    """
    try:
        history = read_history(folder, release)
        if history is None:
            return 0, []
        found = [*_item_findings(history, release, tables)]
        label = next((own["previous"] for own in release.counts.get("stability", {}).values()), "")
        if label:
            beside = {other.label: path for path, other in siblings(folder.resolve().parent)}
            earlier = (beside | {read_release(path).label: path for path in previous}).get(label)
            if earlier:
                found += _kept_findings(history, release, tables, earlier)
            else:
                notes.append(f"kept items were not compared with {label}: give its folder by --previous")
    except CurateError as error:
        return 0, [_finding(str(error))]
    return len(history), found


def _item_findings(history: pl.DataFrame, release: Release, tables: Tables) -> Iterator[Finding]:
    """Yield differences of the history from the items of the release and from the counts of its manifest."""
    number = release.release or release.version
    current = history.filter(pl.col("reason") == "")
    for config in STABLE:
        if config not in tables and release.counts["items"].get(config):
            continue  # unreadable: reported by the check of tables
        listed = sorted(current.filter(pl.col("config") == config)["item_id"])
        items = sorted(tables[config]["item_id"]) if config in tables else []
        if listed != items:
            yield _finding(f"lists {len(listed)} items of {config} that are not its {len(items)} items")
    stated = release.counts.get("stability", {})
    label = next((own["previous"] for own in stated.values()), "")
    previous = label.removeprefix(f"{release.name}-")
    stable = stability_of(history, release.name, previous, number) if label else {}
    if {name: own.model_dump() for name, own in stable.items()} != stated:
        yield _finding("gives other numbers of kept, retired and new items than the manifest")


def _kept_findings(history: pl.DataFrame, release: Release, tables: Tables, folder: Path) -> Iterator[Finding]:
    """Yield items that the history calls kept and that differ from those of the previous version, and lost ones."""
    previous, number = read_previous(folder, read_release(folder)), release.release or release.version
    for config in (name for name in STABLE if name in tables):
        own = history.filter(pl.col("config") == config)
        kept = own.filter(pl.col("reason") == "", pl.col("since") != number)["item_id"]
        ended = set(own.filter(pl.col("retired_in") == number)["item_id"])
        was, now = (
            {row[0]: row[1:] for row in frame.select("item_id", *KEPT).iter_rows()}
            for frame in (previous.items.get(config, pl.DataFrame(schema=["item_id", *KEPT])), tables[config])
        )
        for item in kept:
            if was.get(item) != now.get(item):
                what = "differs from" if item in was else "is not in"
                yield _finding(f"{config}, item {item} is called kept and {what} {previous.label}")
        for item in sorted(was.keys() - set(kept) - ended):
            yield _finding(f"{config}, item {item} of {previous.label} is neither kept nor retired")


def _finding(what: str) -> Finding:
    return Finding(check="history", where=HISTORY, what=what)

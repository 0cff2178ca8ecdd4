"""``diff``: the prompts and items that changed from one release to another, and the causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curate.release.history import KEPT, STABLE, read_history
from curate.release.manifest import read_release, stored_config
from curate.release.tables import FULL, ITEM_CONFIGS, PROMPTS, TRAIN_FULL, tables_of
from schemas.base import Document
from schemas.config import EARLIER_DENOISE, DenoiseConfig
from schemas.errors import CurateError
from schemas.release import ConfigChange, DiffReport, PromptChange, Release, ReleaseConfig

COMPARED = (*KEPT, "media_sha256", "ranks")
"""Columns in which an item of both releases may differ. Scores change with every vote and are not compared."""
UNKNOWN = "unknown"
"""The reason of a retired item that the later release's history lacks: it does not continue the earlier release."""
WHY = ("config", "item_id", "reason")


def diff(one: Path, two: Path) -> DiffReport:
    """Return the changes from release ``one`` to release ``two``. Raises CurateError if either cannot be read."""
    before, after = read_release(one), read_release(two)
    old, new = _prompts(one), _prompts(two)
    ranks = _ranks(one, before), _ranks(two, after)
    reasons_of = _retired(two, after) if before.version != after.version else {}
    config = _config_changes(before, after)
    batches = [{batch.batch for batch in release.batches} for release in (before, after)]
    code = (before.run.code_version, after.run.code_version)
    wide = (["config"] if config else []) + (["code"] if code[0] != code[1] else [])
    changes = [
        change
        for prompt in sorted(old.keys() & new.keys())
        if (change := _change(prompt, old[prompt], new[prompt], ranks, wide))
    ]
    reasons = {reason for change in changes for reason in change.why}
    more = before.counts["votes"] != after.counts["votes"]
    causes = (["new votes"] if more or "new votes" in reasons else []) + wide
    return DiffReport(
        before=f"{before.label} ({before.version})",
        after=f"{after.label} ({after.version})",
        same=before.version == after.version,
        causes=tuple(causes + [cause for cause in ("media", "text", "side") if cause in reasons]),
        votes=(before.counts["votes"], after.counts["votes"]),
        batches={
            "added": tuple(sorted(batches[1] - batches[0])),
            "removed": tuple(sorted(batches[0] - batches[1])),
        },
        config=config,
        code=code,
        prompts_added=tuple(sorted(new.keys() - old.keys())),
        prompts_removed=tuple(sorted(old.keys() - new.keys())),
        prompts=tuple(changes),
        items={
            name: moved
            for name in ITEM_CONFIGS
            if (moved := _item_change(_items(one, before, name), _items(two, after, name), reasons_of.get(name)))
        },
    )


def _change(
    prompt: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    ranks: tuple[Mapping[str, Mapping[str, int]], Mapping[str, Mapping[str, int]]],
    wide: list[str],
) -> PromptChange | None:
    """Return the change of a prompt; None if it is equal in both."""
    was, now = (side.get(prompt, {}) for side in ranks)
    moved = {
        response: (was.get(response), now.get(response))
        for response in sorted(was.keys() | now.keys())
        if was.get(response) != now.get(response)
    }
    why = [
        cause
        for cause, columns in (
            ("new votes", ("votes", "annotators")),
            ("text", ("question",)),
            ("media", ("media_name", "media_sha256")),
            ("side", ("split",)),
        )
        if any(old[column] != new[column] for column in columns)
    ]
    if not why and not moved:
        return None
    if moved and "new votes" not in why:
        # Its own votes are the same: the config or code differs, or votes on other prompts changed the estimates of
        # models and annotators, which all prompts share.
        why += wide or ["other votes"]
    return PromptChange(
        prompt_id=prompt,
        why=tuple(why),
        side=(old["split"], new["split"]),
        votes=(old["votes"], new["votes"]),
        ranks=moved,
    )


def _retired(folder: Path, release: Release) -> dict[str, dict[str, str]]:
    """Return config -> id -> the last reason why an item was retired, by the history of a release."""
    history = read_history(folder, release)
    found: dict[str, dict[str, str]] = {name: {} for name in STABLE}
    if history is not None:
        for config, item, reason in history.filter(pl.col("reason") != "").select(WHY).iter_rows():
            found[config][item] = reason
    return found


def _item_change(old: pl.DataFrame, new: pl.DataFrame, reasons: Mapping[str, str] | None) -> ConfigChange | None:
    """Return the change of a config's items; None if they are equal, in any order.

    reasons: why items were retired, of a config whose items are kept; its change is returned even if there is none.
    """
    was, now = (
        {row[0]: row[1:] for row in frame.select("item_id", *COMPARED).iter_rows()} if len(frame) else {}
        for frame in (old, new)
    )
    added, removed = sorted(now.keys() - was.keys()), sorted(was.keys() - now.keys())
    changed = sorted(item for item in was.keys() & now.keys() if was[item] != now[item])
    if reasons is None:
        stable = {}
        if not (added or removed or changed):
            return None
    else:
        kept = {item for item in was.keys() & now.keys() if _is_kept(was[item], now[item])}
        gone = Counter(reasons.get(item, UNKNOWN) for item in was.keys() - kept)
        stable = {"kept": len(kept), "retired": dict(sorted(gone.items(), key=lambda pair: (-pair[1], pair[0])))}
    return ConfigChange(
        before=len(was), after=len(now), added=tuple(added), removed=tuple(removed), changed=tuple(changed), **stable
    )


def _is_kept(was: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    """Return whether question, responses, order, best and, where known, media are the same. was, now: COMPARED."""
    count, media = len(KEPT), (was[len(KEPT)], now[len(KEPT)])
    return was[:count] == now[:count] and (None in media or media[0] == media[1])


def _config_changes(before: Release, after: Release) -> dict[str, tuple[Any, Any]]:
    """Return dotted key -> values before and after, of the release's and the denoise run's configs."""
    old, new = (
        _flat(
            {
                "release": _current(release.run.config, ReleaseConfig),
                "denoise": _current(EARLIER_DENOISE | release.upstream[0].config, DenoiseConfig),
            }
        )
        for release in (before, after)
    )
    skipped = {"release.run", "release.version"}
    return {
        key: (old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in skipped
    }


def _current(config: Mapping[str, Any], kind: type[Document]) -> Mapping[str, Any]:
    """Return a stored config with the current names of its fields, if it is readable."""
    found = stored_config(config, kind)
    return found.model_dump(mode="json") if found else config


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _prompts(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["prompt_id"]: row for row in _read([folder / f"{PROMPTS}.parquet"]).iter_rows(named=True)}


def _ranks(folder: Path, release: Release) -> dict[str, dict[str, int]]:
    """Return prompt -> response -> rank in the full ranking."""
    found: dict[str, dict[str, int]] = {}
    for name in (TRAIN_FULL, FULL):
        rows = _items(folder, release, name)
        if len(rows):
            for prompt, ids, ranks in rows.select("prompt_id", "response_ids", "ranks").iter_rows():
                found[prompt] = dict(zip(ids, ranks, strict=True))
    return found


def _items(folder: Path, release: Release, name: str) -> pl.DataFrame:
    """Return the items of a config; an empty frame if the release has none."""
    return _read([folder / path for path in tables_of(name, [file.path for file in release.files])])


def _read(paths: list[Path]) -> pl.DataFrame:
    try:
        return pl.concat([pl.read_parquet(path) for path in paths]) if paths else pl.DataFrame()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CurateError(
            f"{paths[0]}: cannot be read: {error}", hint="curate release verify lists all problems"
        ) from error

"""The items of a release, with the figures and counts of its manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from curate.release.build import Contents
from curate.release.figures import (
    figures,
    item_stages,
    media_figures,
)
from curate.release.history import REDRAWN, Previous, continued, read_previous, stability_of, unchanged
from curate.release.tables import rules_of
from curate.sampling.items import Fragility, Rule
from curate.store import Store
from curate.store.criteria import NO_CRITERION
from curate.store.exports import (
    annotators_of,
    as_manifest_run,
    manifest_batches,
)
from curate.store.games import store_leaderboard
from curate.store.runs import Run
from pipelines.auditing import fragility
from pipelines.exporting import draw, stated_criterion
from pipelines.progress import Progress
from pipelines.release_prompts import Folder, Selection
from schemas.config import DenoiseConfig
from schemas.errors import CurateError
from schemas.manifest import ManifestRun
from schemas.release import (
    SIDES,
    Funnel,
    FunnelStage,
    Release,
    ReleaseConfig,
)
from schemas.tables import SCHEMA_VERSION


def draw_release(
    store: Store, selection: Selection, run: Run, base: Folder | None, progress: Progress
) -> tuple[Release, Contents]:
    """Return the manifest without files, and the contents. Raises CurateError if there are no items.

    base: the previous version, whose items are kept while their labels hold.
    """
    config = selection.config
    assert config.media_as is not None
    progress("drawing items", 0, 0)
    _check_criterion(stated_criterion(store, config.run).get("criterion", ""), base)
    previous = read_previous(*base) if base else None
    earlier, retired = _earlier(selection, previous)
    items, counts, rules = _draw_sides(selection.ranked, config, fragility(store, config.run), earlier)
    for name, own in counts.pop("retired", {}).items():
        retired.setdefault(name, {}).update(own)
    history = continued(previous, items, retired)
    stable = stability_of(history, config.name, previous.number, None) if previous else {}
    counts["stability"] = {name: own.model_dump() for name, own in stable.items()}
    if not any(counts["items"].values()):
        why = "; ".join(_describe_stage(stage) for stage in selection.stages)
        raise CurateError(f"{store.path}: nothing to release", hint=why)
    counts |= _figures(store, selection, items)
    chosen: dict[str, int] = {
        side: selection.ranked.filter(pl.col("split") == side)["prompt_id"].n_unique() for side in SIDES
    }
    release = Release(
        kind="release",
        schema_version=SCHEMA_VERSION,
        version="",
        run=as_manifest_run(run),
        upstream=(selection.upstream,),
        batches=manifest_batches(store, selection.upstream),
        counts=counts,
        files=(),
        name=config.name,
        release=config.version,
        seal="",
        media_as=config.media_as,
        previous=tuple(run.inputs["previous"]),
        funnel=Funnel(stages=(*selection.stages, *item_stages(counts, chosen))),
    )
    usable = selection.usable if config.media_as != "none" else {}
    return release, Contents(items, rules, selection.prompts, usable, history)


def _check_criterion(criterion: str, base: Folder | None) -> None:
    """Raise CurateError if the previous version is by another criterion."""
    before = base[1].counts.get("criterion", criterion) if base else criterion
    if base and before != criterion:
        raise CurateError(
            f"{base[0]}: by the criterion {before!r}, but this build is by {criterion or NO_CRITERION!r}",
            hint=f"choose another name: --name {base[1].name}-{criterion or 'overall'}",
        )


def _earlier(
    selection: Selection, previous: Previous | None
) -> tuple[dict[str, pl.DataFrame], dict[str, dict[str, str]]]:
    """Return config -> previous items that may be kept; and config -> id -> reason of those that may not."""
    kept: dict[str, pl.DataFrame] = {}
    retired: dict[str, dict[str, str]] = {}
    ranked, media = selection.ranked.filter(pl.col("split") == "benchmark"), selection.media
    for name, items in previous.items.items() if previous else ():
        if selection.config.benchmark_items == "redraw":
            retired[name] = dict.fromkeys(items["item_id"], REDRAWN)
        else:
            kept[name], retired[name] = unchanged(items, ranked, media, selection.excluded)
    return kept, retired


def _describe_stage(stage: FunnelStage) -> str:
    why = "".join(f", {number:,} {reason}" for reason, number in stage.dropped.items())
    return f"{stage.stage}: {stage.kept:,} of {stage.input:,} {stage.unit} kept{why}"


def _draw_sides(
    ranked: pl.DataFrame, config: ReleaseConfig, fragility: Fragility, earlier: Mapping[str, pl.DataFrame]
) -> tuple[dict[str, pl.DataFrame], dict[str, Any], tuple[Rule, ...]]:
    """Return the items of all configs, the counts of an export (excluded: by side), and the rules.

    fragility: of the labels of benchmark items; full rankings and training have none. earlier: config -> previous
    items, of which counts then has those retired.
    """
    min_confidence = {"train": config.train_min_confidence, "benchmark": config.benchmark_min_confidence}
    items: dict[str, pl.DataFrame] = {}
    counts: dict[str, Any] = {"excluded": {side: {} for side in SIDES}}
    rules: list[Rule] = []
    for side in SIDES:
        several, pairs, full = rules_of(config, side)
        for own, minimum in (((several, pairs), min_confidence[side]), ((full,), 0.0)):
            drawn, found = draw(
                ranked,
                side,
                own,
                config.export(side, min_confidence=minimum),
                unseen=0,
                fragility=fragility,
                min_fragility=config.benchmark_min_fragility,
                earlier=earlier,
            )
            items |= drawn
            rules += own
            for reason, number in found.pop("excluded").items():
                # Reasons of a single config do not name it; those of the side do not depend on the config.
                suffix = f" ({full.name})" if own == (full,) and reason.startswith(CONFIG_REASONS) else ""
                counts["excluded"][side][reason + suffix] = number
            del found["prompts"]  # of these configs only; ``figures`` counts those of the side
            for key, values in found.items():
                counts.setdefault(key, {}).update(values)
    return items, counts, tuple(rules)


CONFIG_REASONS = ("item:", "prompt: too", "prompt: every", "prompt: best")
"""Prefixes of reasons for exclusion that depend on the config."""


def _figures(store: Store, selection: Selection, items: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Return the figures of the tables, and those that only the store can give."""
    run = selection.upstream
    used = sorted({prompt for frame in items.values() for prompt in frame["prompt_id"]})
    own = selection.prompts.filter(pl.col("prompt_id").is_in(used))
    names = own["video"].drop_nulls().unique().to_list()
    denoised = store.run(run.run)
    report = denoised["report"] if denoised else {}
    strengths = report.get("strengths") or {}
    found = figures(items, own)
    found["agreement"]["disagreement"] = report.get("disagreement", report.get("contradicted"))  # renamed in 0.2
    return (
        found
        | stated_criterion(store, run.run)
        | media_figures([selection.usable[name].phash if name in selection.usable else () for name in names])
        | {
            "annotators": annotators_of(store, used, run, without=report.get("spammer_ids", [])),
            "equal_texts": report.get("equal_texts"),
            "leaderboard": _leaderboard(store, run),
            "method": report.get("method", run.config.get("ranker", "")),
            "overdispersion": (report.get("overdispersion") or {}).get("summary", "unknown"),
            "strengths": strengths.get("summary", strengths.get("words", "unknown")),  # renamed in 0.2
        }
    )


def _leaderboard(store: Store, run: ManifestRun) -> list[dict[str, Any]]:
    """Return the leaderboard of the votes that the run had, as rows of the card; empty where no models are known."""
    config = DenoiseConfig.from_stored(json.dumps(run.config))
    try:
        frame = store_leaderboard(
            store, criterion=config.criterion, control=config.control, batches=run.inputs.get("batches")
        ).frame
    except CurateError:
        return []
    strengths = pl.col("strength", "low", "high").round(3)
    return frame.select("model", "component", "rank", "best_rank", "worst_rank", "class", strengths).to_dicts()

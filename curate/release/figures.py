"""The figures of a release: statistics of its tables, and the funnel with its filters.

Build and verification compute them by the same functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from curate.release.tables import BENCHMARK, PAIRWISE, side_of
from curate.sampling.items import FRAGILE, item_statistics
from schemas.manifest import FragilityFigures, ManifestBatch
from schemas.release import SIDES, Filters, FunnelStage

NOT_ELIGIBLE = "below min_confidence, or no clear best"
"""Why a candidate is not eligible: its best rank is shared, or another response is more probably the best."""
RANKED = ("ranked", "disconnected")
"""Statuses of a prompt with a ranking."""


def figures(items: Mapping[str, pl.DataFrame], prompts: pl.DataFrame) -> dict[str, Any]:
    """Return the statistics of the tables, under the keys that they have in the manifest's counts.

    items: config -> its items. prompts: those with an item (votes, agreement, expected_tau).
    """
    models = pl.concat(frame["models"].explode() for frame in items.values()).drop_nulls()
    statistics = {name: item_statistics(frame) for name, frame in items.items()}
    by_side = {side: [frame["prompt_id"] for name, frame in items.items() if side_of(name) == side] for side in SIDES}
    return {
        **{
            key: {name: values[key] for name, values in statistics.items()}
            for key in ("difficulty", "confidence", "floor")
        },
        "prompts": {side: pl.concat(ids).n_unique() if ids else 0 for side, ids in by_side.items()},
        "votes": int(prompts["votes"].sum()),
        "models": models.n_unique(),
        "agreement": {"rankers": prompts["agreement"].mean(), "expected_tau": prompts["expected_tau"].mean()},
        "balance": {name: _balance(frame) for name, frame in items.items()},
        **_fragility(items),
    }


def _fragility(items: Mapping[str, pl.DataFrame]) -> dict[str, dict[str, Any]]:
    """Return fragility: config -> its figures, of configs that have one; nothing if a release lacks the column."""
    if any("fragility" not in frame.columns for frame in items.values()):
        return {}
    found = {}
    for name in (BENCHMARK, PAIRWISE):
        if name not in items or items[name]["fragility"].is_null().all():
            continue
        sizes = items[name].filter(pl.col("best").is_not_null())["fragility"]
        median = sizes.sort(nulls_last=True)[len(sizes) // 2]
        counts = {"disagreeing": (sizes == 0).sum(), "one": (sizes == 1).sum(), "none": sizes.null_count()}
        found[name] = FragilityFigures(labels=len(sizes), median=median, **counts).model_dump()
    return {"fragility": found}


def media_figures(hashes: Collection[Sequence[int]]) -> dict[str, Any]:
    """Return the number of media, and whether all have perceptual hashes (empty: it has none)."""
    return {"videos": len(hashes), "hashed": bool(hashes) and all(len(phash) for phash in hashes)}


def media_kinds(kinds: pl.Series) -> dict[str, int]:
    """Return video, image -> number of media. kinds: of each."""
    return {kind: int((kinds == kind).sum()) for kind in ("video", "image")}


def _balance(items: pl.DataFrame) -> dict[str, Any]:
    """Return models: model -> [items that show it, items whose best it is]; positions: how often the best is at each.

    Unknown models are not counted.
    """
    shown, best = Counter[str](), Counter[str]()
    positions = Counter[int]()
    size = 0
    for models, place in items.select("models", "best").iter_rows():
        size = max(size, len(models))
        shown.update({model for model in models if model})
        if place is not None:
            positions[place] += 1
            if models[place]:
                best[models[place]] += 1
    return {
        "models": {model: [shown[model], best[model]] for model in sorted(shown)},
        "positions": [positions[place] for place in range(size)],
    }


def ingest_stage(batches: Sequence[ManifestBatch]) -> FunnelStage:
    """Return the stage from rows of the vote files to votes; a row that was read again counts once."""
    dropped = Counter[str]()
    rows = 0
    for batch in batches:
        recovered = batch.counts.get("recovered_reasons", {})  # counted before as rejects
        rows += batch.counts.get("rows", 0) - sum(recovered.values())
        dropped.update(batch.counts.get("reasons", {}))
        dropped.subtract(recovered)
        dropped["duplicate"] += batch.counts.get("duplicates", 0)
    return _stage("ingest", rows, +dropped, unit="rows")


def denoise_stage(facts: pl.DataFrame, report: Mapping[str, Any]) -> FunnelStage:
    """Return the stage from votes to votes that the denoise run used.

    facts: of all prompts (``curate.store.exports.prompt_facts``). report: that of the denoise run.
    """
    excluded = int(report.get("excluded_votes", report.get("left_out", 0)))  # renamed in 0.2
    between = int((report.get("equal_texts") or {}).get("excluded_votes", 0))
    copied = int(report.get("copied_votes", 0))
    used = int(report.get("votes", facts["votes"].sum()))
    dropped = Counter({"by likely spammers": excluded, "copied": copied, "between equal texts": between})
    return _stage("denoise", used + excluded + copied + between, +dropped, unit="votes")


def ranking_stage(facts: pl.DataFrame) -> FunnelStage:
    """Return the stage from prompts of the store to prompts with a ranking."""
    why = facts.filter(~pl.col("status").is_in(RANKED) | pl.col("status").is_null())["status"]
    return _stage("ranking", len(facts), Counter(status or "not in the denoise run" for status in why))


def filtered(facts: pl.DataFrame, connected: Mapping[str, int], filters: Filters) -> tuple[set[str], FunnelStage]:
    """Return the prompts that pass every filter, and the stage; a prompt counts at the first filter that it fails.

    facts: of ranked prompts. connected: prompt -> number of connected responses.
    """
    coverage = pl.col("pairs_covered") / pl.max_horizontal("pairs_possible", pl.lit(1))
    reasons = (
        ("fewer votes than min_votes", pl.col("votes") < filters.min_votes),
        ("less of the pairs covered than min_coverage", coverage < filters.min_coverage),
        ("agreement below min_agreement, or unknown", _below("agreement", filters.min_agreement)),
        ("expected tau below min_expected_tau, or unknown", _below("expected_tau", filters.min_expected_tau)),
        (
            "fewer connected responses than min_responses",
            pl.col("prompt_id").replace_strict(connected, default=0, return_dtype=pl.Int64) < filters.min_responses,
        ),
    )
    failed = pl.coalesce(*(pl.when(fails).then(pl.lit(reason)) for reason, fails in reasons))
    checked = facts.select("prompt_id", failed=failed)
    dropped = Counter(checked["failed"].drop_nulls().to_list())
    kept = set(checked.filter(pl.col("failed").is_null())["prompt_id"])
    return kept, _stage("filters", len(facts), dropped)


def dropping_stage(stage: str, prompts: set[str], dropped: Mapping[str, str]) -> tuple[set[str], FunnelStage]:
    """Return the prompts without those dropped, and the stage. dropped: prompt -> reason."""
    why = {prompt: reason for prompt, reason in dropped.items() if prompt in prompts}
    return prompts - why.keys(), _stage(stage, len(prompts), Counter(why.values()))


def item_stages(counts: Mapping[str, Any], prompts: Mapping[str, int]) -> list[FunnelStage]:
    """Return the stages from chosen prompts to prompts with items, by side, and from candidates to items, by config.

    prompts: side -> chosen prompts.
    """
    stages = []
    for side in SIDES:
        unused = Counter({"no item could be drawn": prompts[side] - counts["prompts"][side]})
        stages.append(_stage(f"prompts with items: {side}", prompts[side], +unused))
    for config, candidates in counts["candidates"].items():
        eligible, items = counts["eligible"][config], counts["items"][config]
        fragile = counts.get("excluded", {}).get(side_of(config), {}).get(f"item: {FRAGILE} ({config})", 0)
        dropped = Counter(
            {
                NOT_ELIGIBLE: candidates - eligible,
                "not drawn": eligible - fragile - items,
                FRAGILE: fragile,
            }
        )
        stages.append(_stage(f"items: {config}", candidates, +dropped, unit="sets"))
    return stages


def _below(column: str, minimum: float) -> pl.Expr:
    return pl.lit(False) if minimum <= -1 else (pl.col(column) < minimum) | pl.col(column).is_null()


def _stage(stage: str, count: int, dropped: Mapping[str, int], *, unit: str = "prompts") -> FunnelStage:
    kept = count - sum(dropped.values())
    return FunnelStage(stage=stage, unit=unit, input=count, kept=kept, dropped=dict(sorted(dropped.items())))

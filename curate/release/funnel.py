"""The funnel: what came, what was kept and what was dropped at every stage, and the filters among the stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from schemas.manifest import ManifestBatch
from schemas.release import SIDES, Filters, FunnelStage

RANKED = ("ranked", "disconnected")
"""Statuses of a prompt with a ranking."""


def ingest_stage(batches: Sequence[ManifestBatch]) -> FunnelStage:
    """Rows of the vote files that became votes."""
    dropped = Counter[str]()
    rows = 0
    for batch in batches:
        rows += batch.counts.get("rows", 0)
        dropped.update(batch.counts.get("reasons", {}))
        dropped["duplicate"] += batch.counts.get("duplicates", 0)
    kept = rows - dropped.total()
    return FunnelStage(stage="ingest", unit="rows", came=rows, kept=kept, dropped=dict(sorted((+dropped).items())))


def denoise_stage(facts: pl.DataFrame, report: Mapping[str, Any]) -> FunnelStage:
    """Votes that the denoise run used. facts: of all prompts (``curate.store.releases.prompt_facts``)."""
    left_out = int(report.get("excluded_votes", 0))
    used = int(report.get("votes", facts["votes"].sum()))
    dropped = {"of annotators taken for spammers": left_out} if left_out else {}
    return FunnelStage(stage="denoise", unit="votes", came=used + left_out, kept=used, dropped=dropped)


def ranking_stage(facts: pl.DataFrame) -> FunnelStage:
    """Prompts of the store that have a ranking."""
    why = facts.filter(~pl.col("status").is_in(RANKED) | pl.col("status").is_null())["status"]
    dropped = Counter(status or "not in the denoise run" for status in why)
    return _stage("ranking", len(facts), dropped)


def filtered(facts: pl.DataFrame, connected: Mapping[str, int], filters: Filters) -> tuple[set[str], FunnelStage]:
    """The prompts that pass every filter, and how many failed each: a prompt counts at the first that it fails.

    facts: of ranked prompts. connected: prompt -> responses that votes connect.
    """
    coverage = pl.col("pairs_covered") / pl.max_horizontal("pairs_possible", pl.lit(1))
    reasons = (
        ("fewer votes than min_votes", pl.col("votes") < filters.min_votes),
        ("less of the pairs covered than min_coverage", coverage < filters.min_coverage),
        ("agreement below min_agreement, or not known", _below("agreement", filters.min_agreement)),
        ("expected tau below min_expected_tau, or not known", _below("expected_tau", filters.min_expected_tau)),
        (
            "fewer connected responses than min_responses",
            pl.col("prompt_id").replace_strict(connected, default=0, return_dtype=pl.Int64) < filters.min_responses,
        ),
    )
    failed = pl.coalesce(*(pl.when(fails).then(pl.lit(reason)) for reason, fails in reasons))
    judged = facts.select("prompt_id", failed=failed)
    dropped = Counter(judged["failed"].drop_nulls().to_list())
    kept = set(judged.filter(pl.col("failed").is_null())["prompt_id"])
    return kept, _stage("filters", len(facts), dropped)


def dropping_stage(stage: str, prompts: set[str], dropped: Mapping[str, str]) -> tuple[set[str], FunnelStage]:
    """The prompts without those dropped, and the stage. dropped: prompt -> why."""
    why = {prompt: reason for prompt, reason in dropped.items() if prompt in prompts}
    return prompts - why.keys(), _stage(stage, len(prompts), Counter(why.values()))


def item_stages(counts: Mapping[str, Any], prompts: Mapping[str, int]) -> list[FunnelStage]:
    """Of each config, the sets that were considered, were certain enough, and became items; and of each side, the
    prompts that got an item. prompts: side -> prompts that came."""
    stages = []
    for side in SIDES:
        unused = Counter({"no item could be drawn": prompts[side] - counts["prompts"][side]})
        stages.append(_stage(f"prompts with items: {side}", prompts[side], +unused))
    for config, items in counts["items"].items():
        if config not in counts["candidates"]:
            continue
        came, eligible = counts["candidates"][config], counts["eligible"][config]
        dropped = Counter(
            {"below the asked confidence, or best shared": came - eligible, "not drawn": eligible - items}
        )
        stages.append(_stage(f"items: {config}", came, +dropped, unit="sets"))
    return stages


def _below(column: str, least: float) -> pl.Expr:
    return pl.lit(False) if least <= -1 else (pl.col(column) < least) | pl.col(column).is_null()


def _stage(stage: str, came: int, dropped: Mapping[str, int], *, unit: str = "prompts") -> FunnelStage:
    return FunnelStage(
        stage=stage, unit=unit, came=came, kept=came - sum(dropped.values()), dropped=dict(sorted(dropped.items()))
    )

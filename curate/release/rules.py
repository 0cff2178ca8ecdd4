"""How the items of each config of a release are drawn, as its config says."""

from __future__ import annotations

from curate.release.columns import BENCHMARK, FULL, PAIRWISE, TRAIN, TRAIN_FULL, TRAIN_PAIRWISE
from curate.sampling.items import Rule
from schemas.release import ReleaseConfig, Side


def rules_of(config: ReleaseConfig, side: Side) -> tuple[Rule, Rule, Rule]:
    """Of one side: items of several responses, pairs, and full rankings, of which a prompt has one."""
    several, pairs, whole = (TRAIN, TRAIN_PAIRWISE, TRAIN_FULL) if side == "train" else (BENCHMARK, PAIRWISE, FULL)
    each = config.train_items_per_prompt if side == "train" else config.benchmark_items_per_prompt
    strict = side == "benchmark"
    return (
        Rule(several, config.responses, each, strict),
        Rule(pairs, 2, each, strict),
        Rule(whole, 0, 1, strict=False),
    )

"""Which prompts a report shows one by one: the most contradictory, most and least certain, and some by chance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

REASONS = ("most contradictory", "most certain", "least certain", "drawn by chance")
"""In this order each gets its next prompt, until there are enough."""


@dataclass(frozen=True)
class Chosen:
    """A prompt to show, and why."""

    prompt_id: str
    reason: str


def choose_prompts(facts: pl.DataFrame, *, show: int, seed: int) -> tuple[Chosen, ...]:
    """``show`` prompts that the run ranked (fewer where there are not so many), no prompt twice, reason by reason.

    facts: prompt_id, status, contradicted and expected_tau, which may be null. Equal prompts come in order of their
    ids; what is drawn by chance depends on the seed and on the ranked prompts' ids.
    """
    ranked = facts.filter(pl.col("status").is_in(["ranked", "disconnected"])).sort("prompt_id")
    ids = ranked["prompt_id"].to_list()
    queues = [
        _sorted(ranked, "contradicted", descending=True),
        _sorted(ranked, "expected_tau", descending=True),
        _sorted(ranked, "expected_tau", descending=False),
        random.Random(seed).sample(ids, len(ids)),
    ]
    found: dict[str, str] = {}
    for turn in range(min(show, len(ids))):
        k = turn % len(queues)
        # A figure that nothing is known of leaves its turn to chance, which holds every prompt.
        fresh = [p for p in queues[k] if p not in found] or [p for p in queues[-1] if p not in found]
        found[fresh[0]] = REASONS[k] if fresh[0] in queues[k] else REASONS[-1]
    return tuple(sorted((Chosen(p, why) for p, why in found.items()), key=lambda c: REASONS.index(c.reason)))


def given_prompts(prompts: Sequence[str]) -> tuple[Chosen, ...]:
    """The prompts that were asked for, in that order, each once."""
    return tuple(Chosen(prompt, "asked for") for prompt in dict.fromkeys(prompts))


def _sorted(ranked: pl.DataFrame, column: str, *, descending: bool) -> list[str]:
    known = ranked.filter(pl.col(column).is_not_null())
    return known.sort(column, "prompt_id", descending=[descending, False])["prompt_id"].to_list()

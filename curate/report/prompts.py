"""Single prompts of a report: which ones are shown without scripts, and their ranked responses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

REASONS = ("highest disagreement", "highest expected tau", "lowest expected tau", "random")
"""Reasons to show a prompt; each gets its next prompt in turn."""


@dataclass(frozen=True)
class Chosen:
    """A prompt to show, and the reason."""

    prompt_id: str
    reason: str


@dataclass(frozen=True)
class ShownResponse:
    """One response. The ranking fields are None if the run did not rank it."""

    name: str
    """Its model, or its id if the model is unknown."""
    response_id: str
    text: str | None
    component: int | None
    rank: int | None
    best_rank: int | None
    worst_rank: int | None
    strength: float | None
    strength_se: float | None


@dataclass(frozen=True)
class ShownPrompt:
    """One prompt with its responses."""

    prompt_id: str
    reason: str
    question: str | None
    video: str | None
    split: str | None
    status: str
    votes: int
    disagreement: float | None
    """Share of the vote weight that disagrees with the order."""
    expected_tau: float | None
    responses: tuple[ShownResponse, ...]
    """In rank order, component by component; unranked responses last."""

    @property
    def components(self) -> int:
        """Number of connected components."""
        return len({one.component for one in self.responses if one.component is not None})


def choose_prompts(facts: pl.DataFrame, *, show: int, seed: int) -> tuple[Chosen, ...]:
    """Return at most ``show`` ranked prompts, each once, grouped by reason.

    facts: prompt_id, status, disagreement and expected_tau, which may be null. Equal prompts are sorted by id.
    """
    ranked = facts.filter(pl.col("status").is_in(["ranked", "disconnected"])).sort("prompt_id")
    ids = ranked["prompt_id"].to_list()
    queues = [
        _sorted(ranked, "disagreement", descending=True),
        _sorted(ranked, "expected_tau", descending=True),
        _sorted(ranked, "expected_tau", descending=False),
        random.Random(seed).sample(ids, len(ids)),
    ]
    found: dict[str, str] = {}
    for turn in range(min(show, len(ids))):
        k = turn % len(queues)
        # A queue without unused prompts leaves its turn to the random queue, which has all prompts.
        unused = [p for p in queues[k] if p not in found] or [p for p in queues[-1] if p not in found]
        found[unused[0]] = REASONS[k] if unused[0] in queues[k] else REASONS[-1]
    return tuple(sorted((Chosen(p, why) for p, why in found.items()), key=lambda c: REASONS.index(c.reason)))


def requested_prompts(prompts: Sequence[str]) -> tuple[Chosen, ...]:
    """Return the requested prompts in their order, each once."""
    return tuple(Chosen(prompt, "requested") for prompt in dict.fromkeys(prompts))


def _sorted(ranked: pl.DataFrame, column: str, *, descending: bool) -> list[str]:
    known = ranked.filter(pl.col(column).is_not_null())
    return known.sort(column, "prompt_id", descending=[descending, False])["prompt_id"].to_list()


def shown_prompts(chosen: Sequence[Chosen], facts: pl.DataFrame, responses: pl.DataFrame) -> list[ShownPrompt]:
    """Return the chosen prompts. facts: prompt_facts with disagreement; responses: ranked_responses, of one run."""
    ids = [c.prompt_id for c in chosen]
    rows = {row["prompt_id"]: row for row in facts.filter(pl.col("prompt_id").is_in(ids)).to_dicts()}
    found: dict[str, list[ShownResponse]] = {prompt: [] for prompt in ids}
    for row in responses.filter(pl.col("prompt_id").is_in(ids)).to_dicts():
        fields = {key: row[key] for key in ShownResponse.__dataclass_fields__ if key != "name"}
        found[row["prompt_id"]].append(ShownResponse(name=row["model"] or row["response_id"], **fields))
    taken = ShownPrompt.__dataclass_fields__.keys() - {"reason", "responses"}
    return [
        ShownPrompt(
            reason=c.reason,
            responses=tuple(found[c.prompt_id]),
            **{key: rows[c.prompt_id][key] for key in taken},
        )
        for c in chosen
    ]

"""Single prompts of a report: which ones are shown, their ranked responses, preference graph and votes by pair."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from curate.report.charts import Arc, Node

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
class ShownPair:
    """Vote weight on two responses, the better-ranked first."""

    first: str
    first_rank: int | None
    second: str
    second_rank: int | None
    for_first: float
    tied: float
    for_second: float


@dataclass(frozen=True)
class ShownPrompt:
    """One prompt with its responses and votes."""

    prompt_id: str
    reason: str
    question: str | None
    video: str | None
    split: str | None
    status: str
    votes: int
    ties: int
    pairs_covered: int
    pairs_possible: int
    cyclic_triads: int
    disagreement: float | None
    """Share of the vote weight that disagrees with the order."""
    lower_bound: float | None
    """Proven lower bound on the disagreement of any order."""
    expected_tau: float | None
    responses: tuple[ShownResponse, ...]
    """In rank order, component by component; unranked responses last."""
    pairs: tuple[ShownPair, ...]
    arcs: tuple[Arc, ...]
    """Of the preference graph, between indices in ``ranked``."""

    @property
    def ranked(self) -> tuple[ShownResponse, ...]:
        """The responses with a rank."""
        return tuple(response for response in self.responses if response.rank is not None)

    def nodes(self) -> list[Node]:
        """The nodes of the preference graph."""
        return [Node(response.rank or 0, response.name) for response in self.ranked]


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


def shown_prompts(
    chosen: Sequence[Chosen], facts: pl.DataFrame, responses: pl.DataFrame, pairs: pl.DataFrame
) -> list[ShownPrompt]:
    """Return the chosen prompts.

    facts: prompt_facts with disagreement and compared; responses: ranked_responses; pairs: pair_disagreement, of one
    run.
    """
    ids = [c.prompt_id for c in chosen]
    rows = {row["prompt_id"]: row for row in facts.filter(pl.col("prompt_id").is_in(ids)).to_dicts()}
    by_prompt = responses.filter(pl.col("prompt_id").is_in(ids)).partition_by("prompt_id", as_dict=True)
    pairs_of = pairs.filter(pl.col("prompt_id").is_in(ids)).partition_by("prompt_id", as_dict=True)
    return [
        _shown(
            c,
            rows[c.prompt_id],
            by_prompt.get((c.prompt_id,), responses.clear()),
            pairs_of.get((c.prompt_id,), pairs.clear()),
        )
        for c in chosen
    ]


def _shown(chosen: Chosen, fact: dict[str, object], responses: pl.DataFrame, pairs: pl.DataFrame) -> ShownPrompt:
    rows = responses.to_dicts()
    shown = tuple(
        ShownResponse(
            name=row["model"] or row["response_id"],
            **{key: row[key] for key in ShownResponse.__dataclass_fields__ if key != "name"},
        )
        for row in rows
    )
    index = {row["response_id"]: k for k, row in enumerate(rows)}
    found: list[tuple[tuple[int, int], ShownPair]] = []
    arcs: list[Arc] = []
    for row in pairs.to_dicts():
        a, b = index[row["first"]], index[row["second"]]
        for_a, for_b, tied = row["for_first"], row["for_second"], row["tied"]
        if a > b:
            a, b, for_a, for_b = b, a, for_b, for_a
        one, two = shown[a], shown[b]
        found.append(((a, b), ShownPair(one.name, one.rank, two.name, two.rank, for_a, tied, for_b)))
        if one.rank is not None and two.rank is not None:
            arcs += [Arc(*ends, w) for ends, w in (((a, b), for_a + tied / 2), ((b, a), for_b + tied / 2)) if w > 0]
    bound, compared = fact["bound"], fact["compared"]
    known = isinstance(bound, float) and isinstance(compared, float) and compared > 0
    fields = {key: fact[key] for key in ShownPrompt.__dataclass_fields__ if key in fact and key != "responses"}
    return ShownPrompt(
        **fields,  # type: ignore[arg-type]  # a row of a data frame with the types of the tables
        reason=chosen.reason,
        lower_bound=bound / compared if known else None,  # type: ignore[operator]
        responses=shown,
        pairs=tuple(pair for _, pair in sorted(found, key=lambda entry: entry[0])),
        arcs=tuple(arcs),
    )

"""Single prompts: ranked responses with their intervals, the arcs of the preference graph, and the votes by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from curate.report.choosing import Chosen
from curate.report.preference_graph import Arc, Node


@dataclass(frozen=True)
class ShownResponse:
    """One response in its place. The figures are None where the run did not rank it."""

    name: str
    """Its model, else its id."""
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
    """The votes on two responses, the better-ranked first."""

    first: str
    first_rank: int | None
    second: str
    second_rank: int | None
    for_first: float
    tied: float
    for_second: float


@dataclass(frozen=True)
class ShownPrompt:
    """All that the report says of one prompt."""

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
    contradicted: float | None
    least: float | None
    """Proved: no order has a smaller share of the votes against it."""
    expected_tau: float | None
    responses: tuple[ShownResponse, ...]
    """In rank order, component by component; those that are not ranked last."""
    pairs: tuple[ShownPair, ...]

    @property
    def ranked(self) -> tuple[ShownResponse, ...]:
        return tuple(response for response in self.responses if response.rank is not None)

    def nodes(self) -> list[Node]:
        """Of the preference graph: the ranked responses."""
        return [Node(response.rank or 0, response.name) for response in self.ranked]


def shown_prompts(
    chosen: Sequence[Chosen], facts: pl.DataFrame, placed: pl.DataFrame, judged: pl.DataFrame
) -> list[tuple[ShownPrompt, list[Arc]]]:
    """The chosen prompts and the arcs between their ranked responses, by places in ``ranked``.

    facts: prompt_facts with contradicted and compared; placed: placed_responses; judged: judged_pairs, of one run.
    """
    ids = [c.prompt_id for c in chosen]
    of = {row["prompt_id"]: row for row in facts.filter(pl.col("prompt_id").is_in(ids)).to_dicts()}
    responses = placed.filter(pl.col("prompt_id").is_in(ids)).partition_by("prompt_id", as_dict=True)
    pairs = judged.filter(pl.col("prompt_id").is_in(ids)).partition_by("prompt_id", as_dict=True)
    empty = judged.clear()
    return [
        _shown(c, of[c.prompt_id], responses.get((c.prompt_id,), placed.clear()), pairs.get((c.prompt_id,), empty))
        for c in chosen
    ]


def _shown(
    chosen: Chosen, fact: dict[str, object], placed: pl.DataFrame, judged: pl.DataFrame
) -> tuple[ShownPrompt, list[Arc]]:
    rows = placed.to_dicts()
    responses = tuple(
        ShownResponse(
            name=row["model"] or row["response_id"],
            **{key: row[key] for key in ShownResponse.__dataclass_fields__ if key != "name"},
        )
        for row in rows
    )
    place = {row["response_id"]: k for k, row in enumerate(rows)}
    pairs, arcs = [], []
    for row in judged.to_dicts():
        a, b = place[row["first"]], place[row["second"]]
        for_a, for_b, tied = row["for_first"], row["for_second"], row["tied"]
        if a > b:
            a, b, for_a, for_b = b, a, for_b, for_a
        one, two = responses[a], responses[b]
        pairs.append(((a, b), ShownPair(one.name, one.rank, two.name, two.rank, for_a, tied, for_b)))
        if one.rank is not None and two.rank is not None:
            arcs += [Arc(*ends, w) for ends, w in (((a, b), for_a + tied / 2), ((b, a), for_b + tied / 2)) if w > 0]
    bound, compared = fact["bound"], fact["compared"]
    known = isinstance(bound, float) and isinstance(compared, float) and compared > 0
    shown = {key: fact[key] for key in ShownPrompt.__dataclass_fields__ if key in fact and key != "responses"}
    return (
        ShownPrompt(
            **shown,  # type: ignore[arg-type]  # a row of a frame: its types are those of the tables
            reason=chosen.reason,
            least=bound / compared if known else None,  # type: ignore[operator]
            responses=responses,
            pairs=tuple(pair for _, pair in sorted(pairs, key=lambda found: found[0])),
        ),
        arcs,
    )

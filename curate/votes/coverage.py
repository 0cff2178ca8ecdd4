"""Coverage: which pairs and prompts the votes compare, and which prompts can be ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from curate.array_types import Bool, Index
from curate.votes.arrays import BOTH_BAD, TIE, VoteArrays
from schemas.config import DenoiseConfig
from schemas.errors import CurateError

NAMED = 5
"""Prompts that an error names."""
DECIMALS = 9
"""Vote weights that agree to this many decimals are equal."""


@dataclass(frozen=True)
class Coverage:
    """How the votes cover P prompts and their R responses."""

    votes: Index
    """(P,) votes on each prompt."""
    ties: Index
    """(P,) of them tie or both_bad."""
    pairs: Index
    """(P,) pairs with a vote."""
    triads: Index
    """(P,) cyclic triads."""
    component: Index
    """(R,) the connected component of each response within its prompt; 0 is the largest."""
    components: Index
    """(P,) number of connected components."""
    status: npt.NDArray[np.str_]
    """(P,) ranked | disconnected | too_few_votes (or no decisive vote) | skipped."""

    @cached_property
    def used(self) -> Bool:
        """(P,) whether the prompt is ranked, in full or by component."""
        return np.isin(self.status, ["ranked", "disconnected"])


def cover(votes: VoteArrays, config: DenoiseConfig) -> Coverage:
    """Return the coverage of the votes, and which prompts can be ranked."""
    prompt = votes.response_prompt[votes.left]
    count = np.bincount(prompt, minlength=len(votes.prompts))
    tied = np.bincount(prompt[np.isin(votes.outcome, [TIE, BOTH_BAD])], minlength=len(votes.prompts))
    component, number = components(votes)
    apart = "disconnected" if config.disconnected == "components" else "skipped"
    too_few = (count < config.min_votes) | (count == tied)
    status = np.where(too_few, "too_few_votes", np.where(number > 1, apart, "ranked"))
    return Coverage(count, tied, pairs_covered(votes), cyclic_triads(votes), component, number, status)


def nothing_ranked(
    votes: VoteArrays, coverage: Coverage, config: DenoiseConfig, excluded: Mapping[str, int]
) -> CurateError:
    """Return the error that no prompt can be ranked, with the reason of each. excluded: reason -> votes."""
    few = coverage.votes < config.min_votes
    tied = ~few & (coverage.votes == coverage.ties)
    reasons = {
        f"have fewer than {config.min_votes} votes (at most {coverage.votes.max(initial=0)})": few,
        "have no vote that is left or right": tied,
        "have responses that no votes connect (disconnected = 'skip')": ~few & ~tied,
    }
    parts = [f"{_named(votes.prompts, where)} {reason}" for reason, where in reasons.items() if where.any()]
    parts += [f"{count:,} votes are excluded: {why}" for why, count in excluded.items()]
    return CurateError(
        f"no prompt can be ranked: {'; '.join(parts) or 'there are no votes'}",
        hint="collect more votes, or change what excludes them: min_votes, max_spammer, copied_votes, disconnected",
    )


def _named(prompts: Sequence[str], where: Bool) -> str:
    """Return how many prompts these are, and the first of them. where: (P,)."""
    first = [prompts[place] for place in np.flatnonzero(where)[:NAMED].tolist()]
    count = int(where.sum())
    return f"{count:,} ({', '.join(first)}{', …' if count > NAMED else ''})"


def component_labels(votes: VoteArrays, component: Index) -> Index:
    """Return (R,) labels that no two components of any prompts share. component: (R,) numbers within each prompt."""
    label: Index = votes.response_prompt * (int(component.max(initial=0)) + 1) + component
    return label


def cyclic_triads(votes: VoteArrays) -> Index:
    """Return the (P,) number of triples of responses whose strict majorities form a cycle."""
    count = np.zeros(len(votes.prompts), dtype=np.int64)
    for graphs in votes.graphs:
        beats = (graphs.wins > graphs.wins.swapaxes(1, 2)).astype(np.float64)
        cycles = np.einsum("bij,bji->b", beats @ beats, beats)  # each counted from its three corners
        count[graphs.prompts] = np.round(cycles / 3)
    return count


def pairs_covered(votes: VoteArrays) -> Index:
    """Return the (P,) number of pairs of responses with a vote."""
    count = np.zeros(len(votes.prompts), dtype=np.int64)
    for graphs in votes.graphs:
        count[graphs.prompts] = (graphs.wins + graphs.wins.swapaxes(1, 2) > 0).sum(axis=(1, 2)) // 2
    return count


def components(votes: VoteArrays) -> tuple[Index, Index]:
    """Return (R,) the connected component of each response within its prompt, and (P,) the number of components.

    Responses that a chain of votes connects share a number. 0 is the largest component; of equals the one with more
    vote weight, then the one whose first response comes earlier.
    """
    label = np.zeros(len(votes.responses), dtype=np.int64)
    count = np.zeros(len(votes.prompts), dtype=np.int64)
    for graphs in votes.graphs:
        both = graphs.wins + graphs.wins.swapaxes(1, 2)
        leader = _leaders(both > 0)
        batch, n = leader.shape
        flat = (np.arange(batch)[:, None] * n + leader).ravel()
        size = np.bincount(flat, minlength=batch * n).reshape(batch, n)  # at each leader; 0 elsewhere
        weight = np.bincount(flat, weights=both.sum(axis=2).ravel(), minlength=batch * n).reshape(batch, n)
        order = np.lexsort((np.broadcast_to(np.arange(n), size.shape), -np.round(weight, DECIMALS), -size))
        number = np.argsort(order, axis=1)  # (B, N) the position of each leader among the leaders
        label[graphs.slots] = np.take_along_axis(number, leader, axis=1)
        count[graphs.prompts] = (size > 0).sum(axis=1)
    return label, count


def _leaders(linked: Bool) -> Index:
    """(B, N) the first response that each one is connected to. linked: (B, N, N) symmetric."""
    n = linked.shape[1]
    reach = (linked | np.eye(n, dtype=np.bool_)).astype(np.float32)
    for _ in range(max(n - 1, 1).bit_length()):
        reach = (reach @ reach > 0).astype(np.float32)
    leader: Index = reach.argmax(axis=2)
    return leader

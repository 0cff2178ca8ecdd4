"""Fragility: how few votes, or annotators, a conclusion rests on.

The smallest set whose removal changes the best response, or the top of the leaderboard, is looked for by influence: the
votes that a first-order approximation says help most are left out first, as many as it says are needed (Broderick,
Giordano and Meager, "An automatic finite-sample robustness metric", 2020). Then the strengths are fitted again without
them, and the set is enlarged or reduced until it changes the conclusion and one unit less does not. So a set that is
named is known to change it; a smaller one of other units may exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.array_types import Float, Index
from curate.evaluation.models import between_models, components_of, fit_models, games_of, models_of, moves
from curate.rankers.base import TIE_DECIMALS
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit, fit_of_prompts
from curate.rankers.hierarchical.influence import influence
from curate.votes.arrays import VoteArrays

RIVALS = 3
"""Strongest other responses, or models, that may take the first place."""
MAX_REFITS = 8
"""Fits to find a set."""
MARGIN = 0.02
"""Logits by which the rival must lead without the set, so that it does when annotators and priors are fitted again."""


class Query(NamedTuple):
    """Which of some responses of one prompt is the best."""

    prompt: int
    best: int
    """Its response number."""
    others: Index
    """Response numbers."""


class Change(NamedTuple):
    """A set of votes whose removal changes a conclusion."""

    votes: Index
    """Their positions; empty where the strengths do not support the conclusion with all votes either."""
    units: int
    """Number of units (votes, or annotators) that they are."""
    rival: int
    """The response, or model, that is first without them."""


@dataclass(frozen=True)
class _Search:
    """The state of the search for one set: units in the order of their influence."""

    votes: Index
    """Votes of the units, the most influential unit first; only of those whose removal helps the rival."""
    stops: Index
    """(U + 1,) number of votes of the first 0, 1, … units."""
    total: Float
    """(U,) sums of the influence of the first 1, 2, … units."""

    @property
    def units(self) -> int:
        """Their number."""
        return len(self.total)

    def first(self, units: int) -> Index:
        """Return the votes of the first units."""
        return self.votes[: self.stops[units]]


def fragile_best(
    votes: VoteArrays, ranker: Hierarchical, fit: HierarchicalFit, queries: Sequence[Query], *, unit: Index
) -> list[Change | None]:
    """Return for each query the smallest set found that changes the best response; None where no set does.

    Parameters
    ----------
    votes, fit
        V votes, and their fit by the ranker. Annotators and priors stay as they are when votes are left out.
    unit
        (V,) votes with the same number are left out together.
    """
    prompt = votes.response_prompt[votes.left]
    found: list[Change | None] = [None] * len(queries)
    for turn in _turns(queries):  # one query per prompt at a time: a fit answers one question on each prompt
        own = [queries[k] for k in turn]
        searches, gaps = _searches(votes, fit, own, unit)

        def gap_without(removed: list[Index], own: list[Query] = own) -> tuple[Float, Index]:
            keep = np.ones(len(votes.left), dtype=np.bool_)
            keep[np.concatenate([np.zeros(0, dtype=np.int64), *removed])] = False
            # Votes inform their own prompt only, so that the others need no fit
            changed = np.bincount(prompt[~keep], minlength=len(votes.prompts)) > 0
            part, strength = fit_of_prompts(fit, votes, changed), fit.strength.copy()
            again = ranker.without(votes.of_prompts(changed), part, keep[changed[prompt]])
            strength[changed[votes.response_prompt]] = again.strength
            return _gaps(strength, own)

        for k, change in zip(turn, _smallest(searches, gaps, gap_without), strict=True):
            found[k] = change
    return found


def fragile_top(votes: VoteArrays, *, unit: Index) -> tuple[str, str, Change] | None:
    """Return the leading model, the model that leads without a set of votes, and the smallest such set found.

    Both are of the largest connected component. None without two models that votes compare, where the best two tie, and
    where no set changes the leader. unit: as in ``fragile_best``.
    """
    names, model = models_of(votes)
    used = np.flatnonzero(between_models(votes, model))
    if not len(used):
        return None
    own = votes.of_votes(used)
    games = games_of(own, model[own.left], model[own.right], len(names))
    fit = fit_models(games)
    strength = fit.theta[: len(names)]
    seen = components_of(games) == 0
    order = [int(m) for m in np.argsort(-np.where(seen, strength, -np.inf), kind="stable") if seen[m]]
    leader = order[0]
    if round(strength[leader] - strength[order[1]], TIE_DECIMALS) == 0:
        return None

    def gap_without(removed: list[Index]) -> tuple[Float, Index]:
        keep = ~np.isin(used, removed[0])
        refitted = fit_models(games.of_votes(keep)).theta[: len(names)]
        others = np.array(order[1:])
        rival = int(others[refitted[others].argmax()])
        return np.array([refitted[leader] - refitted[rival]]), np.array([rival])

    best: Change | None = None
    for rival in order[1 : RIVALS + 1]:
        search = _search(moves(games, fit, leader, rival), used, unit[used])
        (change,) = _smallest([search], np.array([strength[leader] - strength[rival]]), gap_without)
        if change and (best is None or change.units < best.units):
            best = change
    return (names[leader], names[best.rival], best) if best else None


def _turns(queries: Sequence[Query]) -> list[list[int]]:
    """Positions of the queries, in lists with at most one per prompt."""
    turns: list[list[int]] = []
    asked: dict[int, int] = {}
    for k, query in enumerate(queries):
        turn = asked[query.prompt] = asked.get(query.prompt, -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(k)
    return turns


def _gaps(strength: Float, queries: Sequence[Query]) -> tuple[Float, Index]:
    """(Q,) strength of each query's best minus that of the strongest other, and (Q,) which that is."""
    rival = np.array([int(query.others[strength[query.others].argmax()]) for query in queries])
    best = np.array([query.best for query in queries])
    return strength[best] - strength[rival], rival


def _searches(
    votes: VoteArrays, fit: HierarchicalFit, queries: Sequence[Query], unit: Index
) -> tuple[list[_Search], Float]:
    """The search of each query against the rival for which the first order needs the fewest units, and (Q,) its gap."""
    ranked = [query.others[np.argsort(-fit.strength[query.others], kind="stable")] for query in queries]
    own: list[_Search] = []
    gaps = np.zeros(len(queries))
    of_prompt = np.argsort(votes.response_prompt[votes.left], kind="stable")
    bounds = np.searchsorted(votes.response_prompt[votes.left][of_prompt], np.arange(len(votes.prompts) + 1))
    for place in range(max((min(RIVALS, len(others)) for others in ranked), default=0)):
        best, rival = np.full((2, len(votes.prompts)), -1, dtype=np.int64)
        for query, others in zip(queries, ranked, strict=True):
            best[query.prompt], rival[query.prompt] = query.best, others[min(place, len(others) - 1)]
        effect = influence(votes, fit, best, rival)
        for k, query in enumerate(queries):
            at = of_prompt[bounds[query.prompt] : bounds[query.prompt + 1]]
            search = _search(effect[at], at, unit[at])
            gap = float(fit.strength[query.best] - fit.strength[rival[query.prompt]])
            if place == 0:
                own.append(search)
                gaps[k] = gap
            elif _needed(search, gap) < _needed(own[k], gaps[k]):
                own[k], gaps[k] = search, gap
    return own, gaps


def _search(effect: Float, votes: Index, unit: Index) -> _Search:
    """effect: (v,) by how much the gap shrinks without each of these votes. unit: (v,) of each."""
    _, number = np.unique(unit, return_inverse=True)
    total = np.bincount(number, effect)
    order = np.argsort(-total, kind="stable")
    order = order[total[order] > 0]
    place = np.full(len(total), len(total))
    place[order] = np.arange(len(order))
    stops = np.append(0, np.cumsum(np.bincount(number)[order]))
    return _Search(votes[np.argsort(place[number], kind="stable")][: stops[-1]], stops, np.cumsum(total[order]))


def _needed(search: _Search, gap: float) -> int:
    """How many units the first order says close the gap; one more than there are if all do not."""
    return int(np.searchsorted(search.total, gap)) + 1


def _smallest(
    searches: Sequence[_Search], gap: Float, gap_without: Callable[[list[Index]], tuple[Float, Index]]
) -> list[Change | None]:
    """The smallest set of each search that closes the gap when the strengths are fitted without it.

    gap_without: votes to leave out, of each search, -> (Q,) the gap that remains and (Q,) the rival.
    """
    count = len(searches)
    nothing = np.zeros(0, dtype=np.int64)
    size = np.array([min(_needed(search, of + MARGIN), search.units) for search, of in zip(searches, gap, strict=True)])
    size = np.where(gap <= 0, 0, np.maximum(size, 1))
    low, high = np.zeros(count, dtype=np.int64), np.full(count, -1, dtype=np.int64)  # too few; enough
    rival = np.full(count, -1, dtype=np.int64)
    high[gap <= 0] = 0
    more, less = gap + MARGIN, np.zeros(count)  # what is missing without that many units: above 0, below 0
    last = np.zeros(count, dtype=np.int64)
    for _ in range(MAX_REFITS):
        limit = np.array([search.units for search in searches])
        active = np.where(high >= 0, high - low > 1, low < limit)
        if not active.any():
            break
        removed = [search.first(n) if on else nothing for search, n, on in zip(searches, size, active, strict=True)]
        gaps, now = gap_without(removed)
        for k in np.flatnonzero(active).tolist():
            side = 1 if gaps[k] < -MARGIN else -1
            if side > 0:
                high[k], rival[k], less[k] = size[k], now[k], gaps[k] + MARGIN
            else:
                low[k], more[k] = size[k], gaps[k] + MARGIN
            # The first order, up to a factor, by the two sizes tried last; if one stays, it counts half (Illinois)
            if side == last[k] and high[k] >= 0:
                more[k], less[k] = (more[k] / 2, less[k]) if side > 0 else (more[k], less[k] / 2)
            last[k] = side
            total = np.append(0.0, searches[k].total)
            if high[k] >= 0:
                slope = (more[k] - less[k]) / (total[high[k]] - total[low[k]])
            else:
                slope = max((gap[k] + MARGIN - more[k]) / total[low[k]], 0.05)
            wanted = _needed(searches[k], float(total[low[k]] + more[k] / slope))
            top = high[k] - 1 if high[k] >= 0 else limit[k]
            size[k] = min(max(wanted, low[k] + 1), max(top, low[k] + 1))
    return [
        Change(np.sort(search.first(int(n))), int(n), int(who)) if n >= 0 else None
        for search, n, who in zip(searches, high, rival, strict=True)
    ]

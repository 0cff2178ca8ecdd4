"""Exact orders by dynamic programming over subsets, all problems of a batch at once, pruned by packed cycles.

The cheapest way to fill the first places with a given set does not depend on what follows (Held and Karp, 1962). A set
is dropped when its cost so far and the cycles packed wholly inside what remains reach the cost of the best order known:
what is left is usually a few dozen sets out of 2ⁿ.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float
from curate.rankers.fas_bounds import Index, Mask, Packing

MOST_RESPONSES = 63
"""A set of places is one 64-bit word."""
FIRST_TRY = 2_000
"""States allowed to each problem while all are searched side by side; the few that need more are searched again."""
CELLS = 1 << 22
"""Numbers held at a time, to bound memory."""


class Search(NamedTuple):
    """What the search of K problems found."""

    order: Index
    """(K, n) places in their best order; as they stood, unless a cheaper order than the given cost was found."""
    cost: Float
    """(K,) cost of that order, or the given cost."""
    finished: npt.NDArray[np.bool_]
    """(K,) within the budget of states: no order is cheaper than cost."""


@dataclass
class _Level:
    """S states: sets of placed responses of one size, sorted by problem."""

    problem: Index
    """(S,)"""
    placed: Mask
    """(S,) bits of the places in the set."""
    cost: Float
    """(S,) of the cheapest way to fill the first places with the set."""
    column: Float
    """(S, n) what it costs to place v next: the weight by which the others that remain are preferred to v."""


def search(arranged: Float, packing: Packing, upper: Float, max_states: int) -> Search:
    """Orders cheaper than upper (K,), or the proof that there are none, within max_states sets for each problem.

    arranged: (K, n, n) antisymmetric whole numbers, n ≤ 63, on which packing is a packing.
    """
    k, n, _ = arranged.shape
    result = Search(np.tile(np.arange(n), (k, 1)), upper.copy(), np.zeros(k, dtype=np.bool_))
    for budget in sorted({min(FIRST_TRY, max_states), max_states}):
        rows = np.flatnonzero(~result.finished)
        per_chunk = max(1, CELLS // (budget * n))
        for begin in range(0, len(rows), per_chunk):
            chunk = rows[begin : begin + per_chunk]
            mine = Packing(packing.bound[chunk], packing.members[chunk], packing.amount[chunk])
            found = _search(np.maximum(arranged[chunk], 0), mine, upper[chunk], budget)
            for target, source in zip(result, found, strict=True):
                target[chunk] = source
    return result


def _search(weights: Float, packing: Packing, upper: Float, budget: int) -> Search:
    """weights: (K, n, n) arcs, at least 0."""
    k, n, _ = weights.shape
    finished, states = np.ones(k, dtype=np.bool_), np.zeros(k, dtype=np.int64)
    bits = np.left_shift(np.uint64(1), np.arange(n, dtype=np.uint64))
    has = (packing.members[:, :, None] & bits) != 0  # (K, C, n) cycle c goes through v
    level = _Level(np.arange(k), np.zeros(k, dtype=np.uint64), np.zeros(k), weights.sum(axis=1))
    steps: list[tuple[Index, Index]] = []  # for each level the state it came from and the response placed
    for _ in range(n):
        parent, choice, cost = _expand(level, packing, has, bits, upper)
        problem, placed = level.problem[parent], level.placed[parent] | bits[choice]
        order = np.lexsort((cost, placed, problem))
        first = np.r_[True, (np.diff(problem[order]) != 0) | (np.diff(placed[order]) != 0)][: len(order)]
        chosen = order[first]
        states += np.bincount(problem[chosen], minlength=k)
        finished &= states <= budget
        chosen = chosen[finished[problem[chosen]]]
        parent, choice, problem = parent[chosen], choice[chosen], problem[chosen]
        level = _Level(problem, placed[chosen], cost[chosen], level.column[parent] - weights[problem, choice])
        steps.append((parent, choice))
    best, cost = np.tile(np.arange(n), (k, 1)), upper.copy()
    state, problem = np.arange(len(level.problem)), level.problem
    cost[problem] = level.cost
    for place, (parent, choice) in zip(range(n - 1, -1, -1), reversed(steps), strict=True):
        best[problem, place] = choice[state]
        state = parent[state]
    return Search(best, cost, finished)


def _expand(
    level: _Level, packing: Packing, has: npt.NDArray[np.bool_], bits: Mask, upper: Float
) -> tuple[Index, Index, Float]:
    """(E,) states, the responses that may be placed next in them, and the cost then.

    Only where it can stay below upper: by 1 at least, since costs are whole.
    """
    found: list[tuple[Index, Index, Float]] = []
    rows = max(1, CELLS // has.shape[1])
    for begin in range(0, len(level.problem), rows):
        part = slice(begin, begin + rows)
        problem, placed = level.problem[part], level.placed[part, None]
        live = np.where(packing.members[problem] & placed, 0, packing.amount[problem])  # (S, C) cycles in what remains
        broken = np.empty((len(problem), len(bits)))  # (S, n) of these, what goes through v
        edges = np.r_[0, np.flatnonzero(np.diff(problem)) + 1, len(problem)]
        for a, b in pairwise(edges):
            broken[a:b] = live[a:b] @ has[problem[a]]
        cost = level.cost[part, None] + level.column[part]
        bound = cost + live.sum(axis=1, keepdims=True) - broken
        state, choice = np.nonzero(((placed & bits) == 0) & (bound <= upper[problem, None] - 1))
        found.append((state + begin, choice, cost[state, choice]))
    if not found:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(0)
    parents, choices, costs = zip(*found, strict=True)
    return np.concatenate(parents), np.concatenate(choices), np.concatenate(costs)

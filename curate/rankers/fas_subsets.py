"""Exact orders by dynamic programming over subsets, pruned by packed cycles.

The cheapest way to fill the first places with a given set does not depend on what follows (Held and Karp, 1962). A set
is dropped when its cost so far and the cycles packed wholly inside what remains reach the cost of the best order known:
what is left is usually a few dozen sets out of 2ⁿ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.rankers.base import Float
from curate.rankers.fas_bounds import Index, Packing

MOST_RESPONSES = 63
"""A set of places is one 64-bit word."""

Mask = npt.NDArray[np.uint64]


class Search(NamedTuple):
    """What the search of a problem found."""

    order: Index
    """(n,) places in their best order; as they stood, unless a cheaper order than the given cost was found."""
    finished: bool
    """Within the budget of states: no order is cheaper than this one (than the given cost, if it is as they stood)."""
    states: int
    """Sets that were held."""


@compiled
def search(arranged: Float, packing: Packing, upper: float, max_states: int) -> Search:
    """An order cheaper than upper, the cost of the order as it stands, or the proof that there is none.

    arranged: (n, n) antisymmetric whole numbers, n ≤ 63, on which packing is a packing.
    """
    n = len(arranged)
    weights = np.maximum(arranged, 0.0)
    bit = np.left_shift(np.uint64(1), np.arange(n).astype(np.uint64))
    members = _members(packing.places, bit)
    placed, cost = np.zeros(max_states + 2, dtype=np.uint64), np.zeros(max_states + 2)
    parent, choice = np.empty(max_states + 2, dtype=np.int32), np.empty(max_states + 2, dtype=np.int8)
    table = np.zeros(2 ** (int(np.log2(max_states)) + 2), dtype=np.int32)
    column, broken = np.empty(n), np.empty(n)
    begin, end = 0, 1  # states of this level: sets of so many places; the first is the empty set
    for _ in range(n):
        level = end
        for s in range(begin, level):
            _place_next(weights, bit, placed[s], column)
            live = _remaining(packing.places, packing.amount, members, placed[s], broken)
            for v in range(n):
                if placed[s] & bit[v] or cost[s] + column[v] + live - broken[v] > upper - 1:
                    continue  # costs are whole: what is cheaper is so by 1 at least
                wanted = placed[s] | bit[v]
                at = _slot(table, placed, wanted, level)
                state = table[at]
                if state < level:
                    if end > max_states:
                        return Search(np.arange(n), False, end)
                    state = table[at] = end
                    placed[state] = wanted
                    end += 1
                elif cost[s] + column[v] >= cost[state]:
                    continue
                cost[state], parent[state], choice[state] = cost[s] + column[v], s, v
        begin = level
    order = np.arange(n)
    if end > begin:
        state = begin
        for place in range(n - 1, -1, -1):
            order[place] = choice[state]
            state = parent[state]
    return Search(order, True, end)


@compiled
def _members(places: Index, bit: Mask) -> Mask:
    """(C,) the places on each cycle, as bits."""
    members = np.zeros(len(places), dtype=np.uint64)
    for c in range(len(places)):
        for a in range(places.shape[1]):
            if places[c, a] >= 0:
                members[c] |= bit[places[c, a]]
    return members


@compiled
def _place_next(weights: Float, bit: Mask, placed: np.uint64, column: Float) -> None:
    """Fills (n,) what it costs to place v next: the weight by which the others that remain are preferred to it."""
    n = len(column)
    for v in range(n):
        column[v] = 0.0
    for u in range(n):
        if not placed & bit[u]:
            for v in range(n):
                column[v] += weights[u, v]


@compiled
def _remaining(places: Index, amount: Float, members: Mask, placed: np.uint64, broken: Float) -> float:
    """The amount of the cycles through no placed response; fills (n,) that of those of them that go through v."""
    for v in range(len(broken)):
        broken[v] = 0.0
    live = 0.0
    for c in range(len(members)):
        if not members[c] & placed:
            live += amount[c]
            for a in range(places.shape[1]):
                v = places[c, a]
                if v < 0:
                    break
                broken[v] += amount[c]
    return live


@compiled
def _slot(table: Index, placed: Mask, wanted: np.uint64, level: int) -> np.int64:
    """Where table has the state with the wanted set, or room for it. States before level are gone, and leave room."""
    last = len(table) - 1
    at = np.int64((wanted * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & last
    while table[at] >= level and placed[table[at]] != wanted:
        at = (at + 1) & last
    return at

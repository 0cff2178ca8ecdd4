"""Minimum feedback arc sets of single problems: components, permutations, local search, packed cycles, subsets.

Every order breaks every directed cycle. If cycles with amounts y use no arc more than its weight, every order costs at
least Σ y (weak duality of covering and packing). The cheapest way to fill the first places with a given set does not
depend on what follows (Held and Karp, 1962); sets whose cost and remaining cycles reach the best known cost are
dropped, which usually leaves a few dozen of 2ⁿ sets.

Net weights are (n, n) antisymmetric whole numbers, above 0 where i is preferred to j. Orders are best first. Ties are
broken by the given numbering.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations
from typing import NamedTuple

import numpy as np

from curate.array_types import Float, Index

MAX_PERMUTED = 6
"""Components of up to this many responses are solved by trying all permutations, without a compiled kernel."""
MAX_RESPONSES = 63
"""The subset search stores a set of responses in one 64-bit word."""
MAX_CYCLE = 5
"""Arcs of the longest packed cycle."""
MAX_PACKING = 3e8
"""Steps of packing (paths that are looked at) beyond which only cycles of three arcs are packed."""
MAX_EXCHANGES = 1e9
"""Exchanges of blocks that local search looks at, at most: all that it needs below 64 responses."""


class Solution(NamedTuple):
    """A good order and a proven lower bound on the cost of any order; it is optimal if the bound equals its cost."""

    order: Index
    """(n,) best first."""
    bound: float
    """Net weight."""


class Packing(NamedTuple):
    """C weighted cycles of one problem, given by places in the order that the cycles close."""

    bound: float
    """Σ amount, a lower bound on the cost of any order."""
    places: Index
    """(C, L) the places on each cycle, padded with −1."""
    amount: Float
    """(C,) how much of each of its arcs the cycle uses."""


class Search(NamedTuple):
    """The result of the subset search."""

    order: Index
    """(n,) places in their best order; unchanged unless an order cheaper than the given cost was found."""
    finished: bool
    """Within the budget of states: no order is cheaper than this one (or than the given cost, if it is unchanged)."""
    states: int
    """Sets that were stored."""


class Components(NamedTuple):
    """Strongly connected components of B problems, sorted so that no arc goes from a component to an earlier one."""

    order: Index
    """(B, n) responses; the given numbering within a component."""
    label: Index
    """(B, n) the component of each entry of order, never decreasing in a row; its values have no meaning."""


def arrange(matrix: Float, order: Index) -> Float:
    """Return the (m, m) rows and columns of a matrix in the order of m responses."""
    return matrix[order[:, None], order]


def order_weight(net: Float, order: Index) -> float:
    """Return the net weight that disagrees with the order."""
    return float(np.tril(np.maximum(arrange(net, order), 0.0)).sum())


def component_order(net: Float, max_states: int) -> Solution:
    """Return a good order of one component and a bound: by permutations or local search, packed cycles, subsets.

    max_states: sets that the subset search may store.
    """
    if len(net) <= MAX_PERMUTED:
        return _permuted(net)
    order = improve(net, np.arange(len(net)))
    arranged = arrange(net, order)
    cost = float(np.tril(np.maximum(arranged, 0.0)).sum())
    packing = pack(arranged)
    if packing.bound == cost or len(net) > MAX_RESPONSES:
        return Solution(order, packing.bound)
    found = search(arranged, packing, cost, max_states)
    best = order[found.order]
    return Solution(best, order_weight(net, best) if found.finished else packing.bound)


def components(net: Float) -> Components:
    """Return the strongly connected components of B problems. net: (B, n, n)."""
    n = net.shape[1]
    arcs = ((net > 0) | np.eye(n, dtype=np.bool_)).astype(np.float32)  # of which BLAS makes products
    length = 1
    while length < n:  # paths of up to 2, 4, 8 … arcs
        arcs = (arcs @ arcs > 0).astype(np.float32)
        length *= 2
    reach = arcs > 0
    both = reach & reach.swapaxes(1, 2)
    # A component's members share their first member and what they reach; an earlier component reaches more.
    key = both.argmax(axis=2) - n * reach.sum(axis=2)
    order = np.argsort(key, axis=1, kind="stable")
    return Components(order, np.take_along_axis(key, order, axis=1))


def component_bounds(label: Index) -> list[int]:
    """Return where the components of one problem begin, and n. label: (n,), a row of ``Components.label``."""
    return [0, *(np.flatnonzero(np.diff(label)) + 1).tolist(), len(label)]


@cache
def _permutations(n: int) -> Index:
    """Return the (n!, n) permutations of n responses in lexicographic order."""
    return np.array(list(permutations(range(n))), dtype=np.int64).reshape(-1, n)


def _permuted(net: Float) -> Solution:
    """Return the first of the best of all permutations."""
    orders = _permutations(len(net))
    p, q = np.triu_indices(len(net), 1)
    cost = np.maximum(net, 0.0)[orders[:, q], orders[:, p]].sum(axis=1)
    best = int(cost.argmin())
    return Solution(orders[best], float(cost[best]))


def improve(net: Float, order: Index, *, thorough: bool = True) -> Index:
    """Return an order that no exchange of two adjacent blocks improves, reached from the given one.

    Above MAX_RESPONSES, single responses are moved first; blocks are then exchanged if thorough, in a limited number of
    steps.
    """
    from curate.rankers.feedback_arc_set.kernels import improve_order, move_responses

    order = np.array(order, dtype=np.int64)
    large = len(order) > MAX_RESPONSES
    if large:
        move_responses(net, order)
    if thorough or not large:
        improve_order(net, order, max(1, int(6 * MAX_EXCHANGES / max(len(order), 1) ** 3)))
    return order


def improve_all(net: Float, order: Index) -> Index:
    """Return (B, n) orders that ``improve`` would reach, not thoroughly. net: (B, n, n)."""
    from curate.rankers.feedback_arc_set.kernels import improve_orders

    order = np.array(order, dtype=np.int64)
    improve_orders(np.ascontiguousarray(net), order)
    return order


def pack(arranged: Float) -> Packing:
    """Return a greedy packing of cycles. arranged: (n, n) net weights, rows and columns in a good order."""
    from curate.rankers.feedback_arc_set.kernels import pack_cycles

    n = len(arranged)
    paths = np.count_nonzero(np.tril(arranged) > 0) * n * n / 6
    places = np.full((n * (n - 1) // 2 + 1, MAX_CYCLE if paths <= MAX_PACKING else 3), -1)  # each cycle uses up an arc
    amount = np.zeros(len(places))
    trail = np.zeros((MAX_CYCLE, n), dtype=np.int64)
    count = pack_cycles(np.maximum(arranged, 0.0), np.zeros(n), trail, places, amount)
    return Packing(float(amount.sum()), places[:count], amount[:count])


def search(arranged: Float, packing: Packing, upper: float, max_states: int) -> Search:
    """Return an order cheaper than upper, the cost of the order as it stands, or the proof that there is none.

    arranged: (n, n) net weights, n ≤ 63, on which packing is a packing.
    """
    from curate.rankers.feedback_arc_set.kernels import search_subsets

    n, size = len(arranged), max_states + 1
    bit = np.left_shift(np.uint64(1), np.arange(n).astype(np.uint64))
    on_cycle = packing.places >= 0
    members = np.bitwise_or.reduce(np.where(on_cycle, bit[packing.places], np.uint64(0)), axis=1)
    placed, cost = np.zeros(size, dtype=np.uint64), np.zeros(size)
    parent, choice = np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int8)
    table = np.zeros(2 ** (int(np.log2(max_states)) + 2), dtype=np.int32)
    finished, begin, end = search_subsets(
        np.maximum(arranged, 0.0), bit, packing.places, packing.amount, members, upper,
        placed, cost, parent, choice, table,
    )  # fmt: skip
    order = np.arange(n)
    if finished and end > begin:
        state = begin
        for place in range(n - 1, -1, -1):
            order[place] = choice[state]
            state = parent[state]
    return Search(order, bool(finished), int(end))

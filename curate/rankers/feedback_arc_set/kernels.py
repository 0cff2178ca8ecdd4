"""Compiled kernels: local search, packing of cycles, and dynamic programme over subsets. Imported when one is needed.

Plain loops over preallocated arrays, because array expressions multiply the time that the compiler takes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.array_types import Float, Index, Int8, Int32
from curate.compiled import compiled

Mask = npt.NDArray[np.uint64]


@compiled
def move_responses(net: Float, order: Index) -> None:
    """Move single responses of ``order``, (n,), in place until no move lowers the cost. net: (n, n) whole numbers.

    Each response in turn goes to its best place, the nearest of equal ones. A pass over all takes n² steps, where
    ``improve_order`` takes n³ for one exchange.
    """
    n, changed = len(order), True
    while changed:
        changed = False
        for v in order.copy():
            p = 0
            while order[p] != v:
                p += 1
            best, to = 0.0, p
            gain = 0.0
            for q in range(p - 1, -1, -1):
                gain += net[v, order[q]]
                if gain > best:
                    best, to = gain, q
            gain = 0.0
            for q in range(p + 1, n):
                gain += net[order[q], v]
                if gain > best:
                    best, to = gain, q
            for q in range(p, to, -1 if to < p else 1):
                order[q] = order[q - 1] if to < p else order[q + 1]
            order[to] = v
            changed = changed or best > 0


@compiled
def improve_order(net: Float, order: Index, steps: int) -> None:
    """Exchange adjacent blocks of ``order``, (n,), in place until no exchange lowers the cost, at most ``steps`` times.

    net: (n, n). Each step makes the best exchange, the first of equal ones. Moving one response anywhere is the
    exchange of a block of one. Exchanging places a … b−1 with b … c−1 saves the net weight by which the right block is
    preferred to the left one.
    """
    n = len(order)
    sums, before = np.zeros((n + 1, n + 1)), order.copy()  # sums[i, j]: total of rows before i and columns before j
    for _ in range(steps):
        for i in range(n):
            row = 0.0
            for j in range(n):
                row += net[order[i], order[j]]
                sums[i + 1, j + 1] = sums[i, j + 1] + row
        best, start, middle, end = 0.0, 0, 0, 0
        for a in range(n):
            for b in range(a + 1, n):
                rest = sums[b, b] - sums[a, b]
                for c in range(b + 1, n + 1):
                    gain = rest + sums[a, c] - sums[b, c]
                    if gain > best:
                        best, start, middle, end = gain, a, b, c
        if best <= 0:
            return
        for p in range(start, end):
            before[p] = order[p]
        for p in range(start, end):
            order[p] = before[p + middle - start if p + middle - start < end else p + middle - end]


@compiled
def improve_orders(net: Float, order: Index) -> None:
    """Improve (B, n) orders by ``improve_order``, or by ``move_responses`` above 63 responses. net: (B, n, n)."""
    for b in range(len(order)):
        if order.shape[1] > 63:
            move_responses(net[b], order[b])
        else:
            improve_order(net[b], order[b], 1_000_000)


@compiled
def pack_cycles(left: Float, width: Float, trail: Index, places: Index, amount: Float) -> int:
    """Pack cycles greedily, fill in ``places`` and ``amount``, and return their number.

    Short cycles come first and, among arcs against the order, those that span few places. For each arc q → p against
    the order, the widest path p → q along the order closes a cycle (dynamic programme over the number of arcs).

    left: (n, n) arc weights, reduced to what the packing leaves of them. width: (n,) and trail: (L, n) are working
    space; trail[a, v] is the predecessor of v at arc a. places: (C, L) filled with −1. amount: (C,).
    """
    n = len(left)
    count = 0
    for arcs in range(2, places.shape[1]):
        for span in range(arcs, n):
            for p in range(n - span):
                q = p + span
                while left[q, p] > 0:
                    for v in range(p + 1, q):
                        width[v] = left[p, v]
                        trail[1, v] = p
                    for a in range(2, arcs):
                        for v in range(q - 1, p, -1):  # predecessors u < v still hold the width of paths of a − 1 arcs
                            best = 0.0
                            for u in range(p + 1, v):
                                through = min(width[u], left[u, v])
                                if through > best:
                                    best = through
                                    trail[a, v] = u
                            width[v] = best
                    best = 0.0
                    for v in range(p + 1, q):
                        through = min(width[v], left[v, q])
                        if through > best:
                            best = through
                            trail[arcs, q] = v
                    if best <= 0:
                        break
                    best = min(best, left[q, p])
                    amount[count] = best
                    places[count, 0] = p
                    left[q, p] -= best
                    at = q
                    for a in range(arcs, 0, -1):
                        places[count, a] = at
                        before = trail[a, at]
                        left[before, at] -= best
                        at = before
                    count += 1
    return count


@compiled
def search_subsets(
    weights: Float,
    bit: Mask,
    places: Index,
    amount: Float,
    members: Mask,
    upper: float,
    placed: Mask,
    cost: Float,
    parent: Int32,
    choice: Int8,
    table: Int32,
) -> tuple[bool, int, int]:
    """Fill in the states of the dynamic programme; return whether it finished, its last level's begin, and its end.

    A state is a set of responses that take the first places. It is dropped if its cost and the cycles packed within
    the remaining responses exceed upper − 1: costs are whole numbers. The programme stops when the states are full.

    weights: (n, n) what lies above 0 of the net weights. bit: (n,) 2ᵛ. places: (C, L), amount: (C,), members: (C,)
    bits of the packed cycles. States: (S,) placed, cost, parent state and last response; state 0 is the empty set.
    table: hash table of states, a power of 2 long; entries of earlier levels count as free.
    """
    n = len(weights)
    last = len(table) - 1
    column, broken = np.empty(n), np.empty(n)
    begin, end = 0, 1
    for _ in range(n):
        level = end
        for s in range(begin, level):
            now = placed[s]
            for v in range(n):
                column[v] = 0.0  # cost of placing v next: the weight by which remaining responses are preferred to it
                broken[v] = 0.0  # amount of the remaining cycles through v
            for u in range(n):
                if not now & bit[u]:
                    for v in range(n):
                        column[v] += weights[u, v]
            live = 0.0
            for c in range(len(members)):
                if not members[c] & now:
                    live += amount[c]
                    for a in range(places.shape[1]):
                        v = places[c, a]
                        if v < 0:
                            break
                        broken[v] += amount[c]
            for v in range(n):
                if now & bit[v] or cost[s] + column[v] + live - broken[v] > upper - 1:
                    continue
                wanted = now | bit[v]
                at = np.int64((wanted * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & last
                while table[at] >= level and placed[table[at]] != wanted:
                    at = (at + 1) & last
                state = table[at]
                if state < level:
                    if end >= len(placed):
                        return False, begin, end
                    state = table[at] = end
                    placed[state] = wanted
                    end += 1
                elif cost[s] + column[v] >= cost[state]:
                    continue
                cost[state], parent[state], choice[state] = cost[s] + column[v], s, v
        begin = level
    return True, begin, end

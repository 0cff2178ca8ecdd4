"""A prompt taken apart into strongly connected components, each solved by the cheapest means that proves it optimal."""

from __future__ import annotations

import numpy as np

from curate.compiled import compiled
from curate.rankers.base import Float
from curate.rankers.fas_bounds import pack
from curate.rankers.fas_search import Index, against, arrange, improve
from curate.rankers.fas_subsets import MOST_RESPONSES, search


@compiled
def minimum_order(net: Float, max_states: int) -> tuple[Index, float]:
    """(n,) a good order, best first, and a proved lower bound on the cost of any order.

    net: (n, n) antisymmetric whole numbers, above 0 where i is preferred. The given numbering breaks ties. max_states:
    sets that the dynamic program may hold for one component.
    """
    order, starts = components(net)
    bound = 0.0
    for c in range(len(starts) - 1):
        first, after = starts[c], starts[c + 1]
        members = order[first:after].copy()
        found, proved = component_order(arrange(net, members), max_states)
        for p in range(len(members)):
            order[first + p] = members[found[p]]
        bound += proved
    return order, bound


@compiled
def component_order(net: Float, max_states: int) -> tuple[Index, float]:
    """The same for one component: local search, packed cycles where its cost is above 0, subsets where they differ."""
    order = improve(net, np.arange(len(net)))
    cost = against(net, order)
    if cost == 0:
        return order, cost
    arranged = arrange(net, order)
    packing = pack(arranged)
    if packing.bound == cost or len(net) > MOST_RESPONSES:
        return order, packing.bound
    found = search(arranged, packing, cost, max_states)
    best = np.empty_like(order)
    for p in range(len(order)):
        best[p] = order[found.order[p]]
    return best, against(net, best) if found.finished else packing.bound


@compiled
def components(net: Float) -> tuple[Index, Index]:
    """(n,) responses sorted so that no arc goes back from one component to an earlier one; and where components start.

    net: (n, n) antisymmetric. The given numbering decides within a component and between equals. The starts end with n.
    """
    n = len(net)
    reach = net > 0
    for k in range(n):
        reach[k, k] = True
        for i in range(n):
            if reach[i, k]:
                for j in range(n):
                    reach[i, j] |= reach[k, j]
    key = np.empty(n, dtype=np.int64)
    for i in range(n):
        first, reached = i, 0
        for j in range(n):
            reached += reach[i, j]
            if reach[i, j] and reach[j, i]:
                first = min(first, j)
        # Who comes earlier reaches all that its successors reach and itself: more.
        key[i] = first - reached * n
    order, starts = np.empty(n, dtype=np.int64), np.empty(n + 1, dtype=np.int64)
    for i in range(n):
        place = 0
        for j in range(n):
            place += key[j] < key[i] or (key[j] == key[i] and j < i)
        order[place] = i
    count = 0
    for p in range(n):
        if p == 0 or key[order[p]] != key[order[p - 1]]:
            starts[count] = p
            count += 1
    starts[count] = n
    return order, starts[: count + 1]

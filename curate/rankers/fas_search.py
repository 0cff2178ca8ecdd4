"""Good orders fast: blocks of neighbours change places until no such exchange lowers the cost."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.rankers.base import Float

Index = npt.NDArray[np.int64]


@compiled
def arrange(net: Float, order: Index) -> Float:
    """(m, m) the weights among the m responses in order, rows and columns as they stand there."""
    m = len(order)
    arranged = np.empty((m, m))
    for p in range(m):
        for q in range(m):
            arranged[p, q] = net[order[p], order[q]]
    return arranged


@compiled
def against(net: Float, order: Index) -> float:
    """Net weight that goes against the order: the sum over pairs whose preferred one stands later.

    net: (n, n) antisymmetric, above 0 where i is preferred. order: responses, best first.
    """
    cost = 0.0
    for p in range(len(order)):
        for q in range(p):
            cost += max(net[order[p], order[q]], 0.0)
    return cost


@compiled
def improve(net: Float, order: Index) -> Index:
    """An order that no exchange of two adjacent blocks of places makes cheaper, starting from the given one.

    Moving one response anywhere is the exchange of a block of one. Each step makes the best exchange, the first of
    equals.
    """
    order = order.copy()
    while True:
        gain, start, middle, end = _best_exchange(arrange(net, order))
        if gain <= 0:
            return order
        before = order.copy()
        for p in range(start, end):
            order[p] = before[p + middle - start if p + middle - start < end else p + middle - end]


@compiled
def _best_exchange(arranged: Float) -> tuple[float, int, int, int]:
    """What the exchange of places start … middle−1 with middle … end−1 saves at best, and these three.

    It saves the net weight by which the right block is preferred to the left one.
    """
    n = len(arranged)
    sums = np.zeros((n + 1, n + 1))  # sums[i, j] = total of rows before i and columns before j
    for i in range(n):
        row = 0.0
        for j in range(n):
            row += arranged[i, j]
            sums[i + 1, j + 1] = sums[i, j + 1] + row
    best, start, middle, end = 0.0, 0, 0, 0
    for a in range(n):
        for b in range(a + 1, n):
            rest = sums[b, b] - sums[a, b]
            for c in range(b + 1, n + 1):
                gain = rest + sums[a, c] - sums[b, c]
                if gain > best:
                    best, start, middle, end = gain, a, b, c
    return best, start, middle, end

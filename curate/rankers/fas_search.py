"""Good orders fast: move blocks of neighbours until no such move lowers the cost, all problems of a batch at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float

Index = npt.NDArray[np.int64]

CELLS = 1 << 22
"""Moves weighed at a time, to bound memory."""


def against(net: Float, order: Index) -> Float:
    """(K,) net weight that goes against each order: the sum over pairs whose preferred one stands later.

    net: (K, n, n) antisymmetric, above 0 where i is preferred. order: (K, n), best first.
    """
    arranged = arrange(net, order)
    cost: Float = np.maximum(np.tril(arranged), 0).sum(axis=(1, 2))
    return cost


def arrange(net: Float, order: Index) -> Float:
    """(K, n, n) the same weights, rows and columns in the given order."""
    k = np.arange(len(net))[:, None, None]
    return net[k, order[:, :, None], order[:, None, :]]


def improve(net: Float, order: Index) -> Index:
    """(K, n) orders that no exchange of two adjacent blocks of places makes cheaper, starting from order.

    Moving one response anywhere is the exchange of a block of one. Each step makes the best exchange, the first of
    equals; first with a block of one on the left or on the right only, which is cheap, then with any blocks.
    """
    n = net.shape[1]
    result = order.copy()
    start, middle, end = _exchanges(n)
    single = (middle - start == 1) | (end - middle == 1)
    for chosen in (single, np.ones_like(single)):
        _descend(net, result, start[chosen], middle[chosen], end[chosen])
    return result


def shake(net: Float, order: Index, rounds: int) -> Index:
    """(K, n) orders at least as good: in each round a few blocks are exchanged at random and improve starts from there.

    The exchanges depend on n and the round only, so that a problem's answer does not depend on the others with it.
    """
    n = net.shape[1]
    best, cost = order.copy(), against(net, order)
    dice = np.random.default_rng(n)
    place = np.arange(n)
    for _ in range(rounds if n > 2 else 0):
        kicked = best
        for _ in range(3):
            a, b, c = np.sort(dice.choice(n + 1, 3, replace=False))
            kicked = kicked[:, np.r_[place[:a], place[b:c], place[a:b], place[c:]]]
        kicked = improve(net, kicked)
        lower = against(net, kicked) < cost
        best[lower], cost[lower] = kicked[lower], against(net[lower], kicked[lower])
    return best


def _descend(net: Float, order: Index, start: Index, middle: Index, end: Index) -> None:
    """Makes the best of the listed exchanges in each problem until none gains; order is changed in place."""
    if len(start) == 0:
        return
    active = np.arange(len(net))
    place = np.arange(order.shape[1])
    per_chunk = max(1, CELLS // len(start))
    while len(active):
        still = []
        for begin in range(0, len(active), per_chunk):
            rows = active[begin : begin + per_chunk]
            gain = _gains(arrange(net[rows], order[rows]), start, middle, end)
            best = gain.argmax(axis=1)
            gains = gain[np.arange(len(rows)), best] > 0
            rows, best = rows[gains], best[gains]
            a, b, c = start[best, None], middle[best, None], end[best, None]
            # Places a … b−1 and b … c−1 change sides: the right block comes first.
            moved = np.where(place < a + c - b, place + b - a, place + b - c)
            source = np.where((place >= a) & (place < c), moved, place)
            order[rows] = np.take_along_axis(order[rows], source, axis=1)
            still.append(rows)
        active = np.concatenate(still)


def _gains(arranged: Float, start: Index, middle: Index, end: Index) -> Float:
    """(K, M) what each exchange saves: the net weight by which its right block is preferred to its left block."""
    k, n, _ = arranged.shape
    sums = np.zeros((k, n + 1, n + 1))  # sums[i, j] = total of rows before i and columns before j
    sums[:, 1:, 1:] = arranged.cumsum(axis=1).cumsum(axis=2)
    flat = sums.reshape(k, -1)

    def at(row: Index, column: Index) -> Float:
        values: Float = flat[:, row * (n + 1) + column]
        return values

    saved: Float = at(start, end) - at(middle, end)
    saved += at(middle, middle)
    saved -= at(start, middle)
    return saved


def _exchanges(n: int) -> tuple[Index, Index, Index]:
    """All exchanges of blocks start … middle−1 and middle … end−1 of n places."""
    start, middle, end = np.meshgrid(np.arange(n), np.arange(n + 1), np.arange(n + 1), indexing="ij")
    legal = (start < middle) & (middle < end)
    return start[legal], middle[legal], end[legal]

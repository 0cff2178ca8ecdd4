"""Lower bounds on the feedback arc set: short directed cycles packed into the net weights.

Every order breaks every directed cycle. If cycles c with amounts y_c use of no arc more than its weight, then every
order costs at least Σ y_c (weak duality of covering and packing). Every cycle has an arc that goes against the best
order known; so for each such arc, paths are sought that close it in the order's own direction. Where they use up all
such arcs, the bound meets the cost and the order is optimal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.rankers.base import Float

Index = npt.NDArray[np.int64]

LONGEST = 5
"""Arcs in the longest cycle that is packed."""


class Packing(NamedTuple):
    """C weighted cycles of one problem."""

    bound: float
    """Σ amount, a lower bound on the cost of every order."""
    places: Index
    """(C, L) the places on each cycle, filled up with −1."""
    amount: Float
    """(C,) how much of each of its arcs the cycle uses."""


@compiled
def pack(arranged: Float) -> Packing:
    """A greedy packing: short cycles first, and of arcs against the order those first that span few places.

    arranged: (n, n) antisymmetric, rows and columns standing in a good order: what lies below the diagonal and is
    above 0 goes against it.
    """
    n = len(arranged)
    left = np.maximum(arranged, 0.0)  # (n, n) what is left of each arc
    places = np.full((n * (n - 1) // 2 + 1, LONGEST), -1)  # each cycle uses up an arc
    amount = np.zeros(len(places))
    width, trail = np.zeros(n), np.zeros((LONGEST, n), dtype=np.int64)
    count = 0
    for arcs in range(2, LONGEST):
        for span in range(arcs, n):
            for p in range(n - span):
                while left[p + span, p] > 0:
                    widest = _widest(left, p, p + span, arcs, width, trail)
                    if widest <= 0:
                        break
                    amount[count] = min(widest, left[p + span, p])
                    at = p + span
                    left[at, p] -= amount[count]
                    for a in range(arcs, 0, -1):
                        places[count, a] = at
                        before = trail[a, at]
                        left[before, at] -= amount[count]
                        at = before
                    places[count, 0] = p
                    count += 1
    return Packing(amount.sum(), places[:count], amount[:count])


@compiled
def _widest(left: Float, p: int, q: int, arcs: int, width: Float, trail: Index) -> float:
    """The width of the widest path p → q of so many arcs, all along the order; trail[a, v] is v's forerunner at arc a.

    width: (n,) and trail are used as working space.
    """
    for v in range(p + 1, q):
        width[v] = left[p, v]
        trail[1, v] = p
    for a in range(2, arcs):
        for v in range(q - 1, p, -1):  # forerunners stand before v, and still hold the width of a path of a − 1 arcs
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
    return best

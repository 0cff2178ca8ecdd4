"""The feedback arc set as a covering program: linear programs whose multipliers are the best packings of cycles.

z_a = 1 where arc a goes against the order. Every directed cycle has such an arc: Σ z_a ≥ 1 around each, at the least
weight. Cycles are added only where an answer leaves them short, found as shortest paths. HiGHS only proposes: each
bound is recomputed from the multipliers y ≥ 0 of the cycles, rounded to whole numbers, as Σ y_c plus the least that
each arc's weight less the y of its cycles can add. No order undercuts that, whatever y is (Lagrange): a wrong or
unfinished answer of the solver can cost time, never truth.
"""

from __future__ import annotations

from typing import NamedTuple

import highspy
import numpy as np

from curate.compiled import compiled
from curate.rankers.base import Float
from curate.rankers.fas_bounds import Packing
from curate.rankers.fas_components import components
from curate.rankers.fas_search import Index, against, arrange, improve

SHORT = 1e-6
"""A cycle is added when its arcs' z sum to less than 1 by this much."""
HOP = 1e-7
"""Length added to each arc, so that of equally short cycles the one with the fewest arcs is taken."""
EXACT = 2.0**52
"""Whole numbers whose sums stay below this are added without rounding."""


class Node(NamedTuple):
    """A part of the orders: those that go against some given arcs and follow some others."""

    bound: float
    """No order of this part costs less."""
    born: int
    """Of nodes with equal bounds the oldest comes first."""
    low: Float
    """(A,) 1 for arcs that its orders go against."""
    high: Float
    """(A,) 0 for arcs that its orders follow."""
    z: Float
    """(A,) the last answer of its linear program."""


class CoverProgram:
    """One component's arcs, the cycles found so far, the solver that holds them, and the best order known."""

    def __init__(self, net: Float, order: Index, budget: int) -> None:
        """net: (n, n) antisymmetric whole numbers. order: (n,) a good one. budget: linear programs it may solve."""
        self.net, self.order, self.cost, self.budget = net, order, against(net, order), budget
        self.tail, self.head = np.nonzero(net > 0)
        self.weight = net[self.tail, self.head]  # (A,)
        self.number = np.full(net.shape, -1)
        self.number[self.tail, self.head] = np.arange(len(self.tail))
        self.cycles: list[tuple[int, ...]] = []
        self.amount = np.zeros(0)  # (C,) the last multipliers, whole numbers
        self.columns = np.arange(len(self.weight), dtype=np.int32)
        self.solver = highspy.Highs()  # type: ignore[no-untyped-call]
        self.solver.setOptionValue("output_flag", False)
        self.solver.setOptionValue("threads", 1)
        self.solver.addVars(len(self.weight), np.zeros(len(self.weight)), np.ones(len(self.weight)))
        self.solver.changeColsCost(len(self.weight), self.columns, self.weight / self.weight.mean())
        self._add_short(np.zeros(len(self.weight)))

    def all_orders(self) -> Node:
        none = np.zeros(len(self.weight))
        return Node(0.0, 0, none, none + 1, none)

    def relax(self, node: Node, enough: float) -> Node:
        """The node with its z and a higher bound: cycles are added until none is short.

        It stops early once the bound is above enough or the budget is spent. Without an answer from the solver, the
        best bound so far stands. Each answer may also lead to a better order.
        """
        bound, z = node.bound, node.z
        self.solver.changeColsBounds(len(z), self.columns, node.low, node.high)
        while self.budget > 0:
            self.budget -= 1
            self.solver.run()
            if self.solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                break
            answer = self.solver.getSolution()
            z = np.clip(np.array(answer.col_value), node.low, node.high)
            self.amount = np.rint(np.maximum(answer.row_dual, 0) * self.weight.mean())
            bound = max(bound, self.certify(node))
            self._round(z)
            if bound > enough or not self._add_short(z):
                break
        return node._replace(bound=bound, z=z)

    def packing(self) -> Packing:
        """The last multipliers as a packing in the best order known, each cut to what its arcs have left."""
        place = np.argsort(self.order)
        left = self.weight.copy()
        places = np.full((len(self.amount), max((len(cycle) for cycle in self.cycles), default=0)), -1)
        kept = np.zeros(len(self.amount))
        for c in np.flatnonzero(self.amount):
            arcs = list(self.cycles[c])
            kept[c] = min(self.amount[c], left[arcs].min())
            left[arcs] -= kept[c]
            places[c, : len(arcs)] = place[self.tail[arcs]]
        return Packing(float(kept.sum()), places[kept > 0], kept[kept > 0])

    def acyclic(self, arcs: Index) -> bool:
        """Whether some order follows all these arcs."""
        kept = np.zeros_like(self.net)
        kept[self.tail[arcs], self.head[arcs]] = 1.0
        return len(components(kept)[1]) == len(kept) + 1

    def certify(self, node: Node) -> float:
        """The lower bound that the multipliers prove for the orders of a node; 0 where it cannot be summed exactly."""
        cycles = self.cycles[: len(self.amount)]
        length = np.array([len(cycle) for cycle in cycles], dtype=np.int64)
        if self.amount @ length > EXACT:
            return 0.0
        arcs = np.concatenate([np.zeros(0, dtype=np.int64), *cycles])
        reduced = self.weight - np.bincount(arcs, np.repeat(self.amount, length), len(self.weight))
        return float(self.amount.sum() + np.where(reduced < 0, node.high * reduced, node.low * reduced).sum())

    def _round(self, z: Float) -> None:
        """Takes the order that follows the arcs with low z, improved, where it is better than the best one known."""
        follow = self.net.copy()
        against_order = z > 0.5
        follow[self.tail[against_order], self.head[against_order]] = 0
        order = improve(self.net, self.order[components(arrange(follow, self.order))[0]])
        cost = against(self.net, order)
        if cost < self.cost:
            self.order, self.cost = order, cost

    def _add_short(self, z: Float) -> bool:
        """Adds, for each arc, the shortest cycle through it where z leaves it short of 1; false when there is none."""
        arcs, ends = short_cycles(self.number, self.tail, self.head, z)
        fresh = list(dict.fromkeys(tuple(np.sort(part).tolist()) for part in np.split(arcs, ends)[:-1]))
        if fresh:
            count = len(fresh)
            starts = np.cumsum([0] + [len(cycle) for cycle in fresh[:-1]], dtype=np.int32)
            entries = np.concatenate(fresh).astype(np.int32)
            ones, endless = np.ones(count), np.full(count, highspy.kHighsInf)
            self.solver.addRows(count, ones, endless, len(entries), starts, entries, np.ones(len(entries)))
            self.cycles += fresh
        return bool(fresh)


@compiled
def short_cycles(number: Index, tail: Index, head: Index, z: Float) -> tuple[Index, Index]:
    """The arcs of the shortest cycles through each arc, by z, that are short of 1, and where each cycle's arcs end.

    number: (n, n) of each arc, −1 where there is none.
    """
    n = len(number)
    length, via = np.full((n, n), np.inf), np.zeros((n, n), dtype=np.int64)  # via: the next stop from row to column
    for a in range(len(tail)):
        length[tail[a], head[a]] = z[a] + HOP
        via[tail[a], head[a]] = head[a]
    for k in range(n):
        for i in range(n):
            if length[i, k] < 1:  # nothing longer is part of a short cycle
                for j in range(n):
                    through = length[i, k] + length[k, j]
                    if through < length[i, j]:
                        length[i, j] = through
                        via[i, j] = via[i, k]
    arcs, ends = [0 for _ in range(0)], [0 for _ in range(0)]
    for a in range(len(tail)):
        if z[a] + length[head[a], tail[a]] < 1 - SHORT:
            arcs.append(a)
            stop = head[a]
            while stop != tail[a]:
                arcs.append(number[stop, via[stop, tail[a]]])
                stop = via[stop, tail[a]]
            ends.append(len(arcs))
    return np.array(arcs), np.array(ends)

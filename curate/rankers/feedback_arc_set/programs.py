"""Linear and integer programs for components that the subset search cannot finish."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

import highspy
import numpy as np

from curate.compiled import compiled
from curate.rankers.base import Float
from curate.rankers.feedback_arc_set.search import (
    MOST_RESPONSES,
    Index,
    Packing,
    Weights,
    against,
    arrange,
    components,
    improve,
    search,
    steps_proved,
)

if TYPE_CHECKING:
    from scipy import sparse

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


class Proved(NamedTuple):
    """The best order found and what was proved of it."""

    order: Index
    """(n,) best first."""
    steps: float
    """No order pays fewer steps of vote weight. Those that this order pays, when the budgets sufficed."""


def prove(weights: Weights, order: Index, max_states: int, max_programs: int) -> Proved:
    """Solves one strongly connected component of n ≥ 3 responses.

    weights: of its responses. order: (n,) a good order to start from. max_states: sets that the dynamic program may
    hold. max_programs: linear programs to solve at most: a count, so that no answer depends on the clock.
    """
    program = CoverProgram(weights.net, order, max_programs)
    root = program.relax(program.all_orders(), program.cost)
    if root.bound < program.cost and len(order) <= MOST_RESPONSES:
        found = search(arrange(weights.net, program.order), program.packing(), program.cost, max_states)
        if found.finished:
            best = program.order[found.order]
            return Proved(best, against(weights.whole, best))
    bound = branch(program, root, weights)
    return Proved(program.order, min(steps_proved(bound, weights), against(weights.whole, program.order)))


def branch(program: CoverProgram, root: Node, weights: Weights) -> float:
    """A bound on the cost of any order, by branching on arcs: the highest that the program's budget can prove.

    It ends once it proves the steps that the best order pays. The node with the lowest bound is next; it branches on
    the arc whose z is nearest to 1/2.
    """
    queue, born = [root], 0
    while True:
        node = heapq.heappop(queue)  # there is one: orders that go against an arc are never ruled out
        steps = against(weights.whole, program.order)
        free = node.low < node.high
        if steps_proved(node.bound, weights) >= steps or program.budget <= 0 or not free.any():
            return node.bound
        arc = int(np.where(free, np.abs(node.z - 0.5), np.inf).argmin())
        enough = (steps - 1) * weights.scale + weights.swing
        for side in (0.0, 1.0):
            low, high = node.low.copy(), node.high.copy()
            low[arc] = high[arc] = side
            born += 1
            if side or program.acyclic(np.flatnonzero(high == 0)):
                heapq.heappush(queue, program.relax(Node(node.bound, born, low, high, node.z), enough))


def order_by_program(net: Float) -> tuple[Index, float]:
    """(N,) an order of least cost, best first, and its cost by HiGHS's own word.

    net: (N, N) antisymmetric, above 0 where i is preferred.
    """
    import cvxpy as cp

    n = len(net)
    i, j = np.triu_indices(n, 1)
    if not len(i):
        return np.arange(n), 0.0
    before = cp.Variable(len(i), boolean=True)
    # A pair pays net[j, i] where i stands before j against the votes, net[i, j] where it does not.
    cost = np.maximum(net[j, i], 0) - np.maximum(net[i, j], 0)
    turns = _turns(n)
    limits = [turns @ before <= 1, turns @ before >= 0] if turns.shape[0] else []
    problem = cp.Problem(cp.Minimize(cost @ before + np.maximum(net[i, j], 0).sum()), limits)
    problem.solve(solver=cp.HIGHS, mip_rel_gap=0, mip_abs_gap=0)  # type: ignore[no-untyped-call]
    assert before.value is not None
    ahead = np.zeros((n, n))
    ahead[i, j] = np.round(before.value)
    ahead[j, i] = 1 - ahead[i, j]
    return np.argsort(-ahead.sum(axis=1), kind="stable"), float(problem.value)


def _turns(n: int) -> sparse.csr_array:
    """(triples, pairs) x_ij + x_jk − x_ik of every three: 0 or 1 but for a circle."""
    from scipy import sparse

    i, j = np.triu_indices(n, 1)
    number = np.zeros((n, n), dtype=np.int64)
    number[i, j] = np.arange(len(i))
    a, b, c = (index.ravel() for index in np.meshgrid(*[np.arange(n)] * 3, indexing="ij"))
    a, b, c = (index[(a < b) & (b < c)] for index in (a, b, c))
    columns = np.stack([number[a, b], number[b, c], number[a, c]], axis=1)
    at = np.repeat(np.arange(len(columns)), 3)
    return sparse.csr_array((np.tile([1.0, 1.0, -1.0], len(columns)), (at, columns.ravel())), (len(columns), len(i)))

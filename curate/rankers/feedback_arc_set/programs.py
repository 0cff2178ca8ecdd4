"""Linear and integer programs for the components that the subset search cannot finish.

The feedback arc set as a covering program: z_a = 1 if arc a disagrees with the order, and Σ z_a ≥ 1 around every
directed cycle, at the least weight. Cycles are added only where a solution violates them. HiGHS only proposes: each
bound is recomputed from the multipliers y ≥ 0 of the cycles, rounded to whole numbers, as Σ y_c plus the least that
each arc's weight less the y of its cycles can add (Lagrangian duality). The bound holds for any y, so a wrong or
unfinished answer of the solver costs time but never correctness.

Work is counted in steps, which are in proportion to seconds on any machine (about 20 ns each): a linear program takes
its simplex iterations times its rows and columns, the search for violated cycles n³. The solver gets the steps that are
left as a limit of its iterations. Dual simplex without presolve keeps multipliers y ≥ 0 at every iteration, so what it
has when it stops there still proves a bound.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, NamedTuple

import highspy
import numpy as np

from curate.array_types import Float, Index
from curate.rankers.feedback_arc_set.search import (
    MAX_RESPONSES,
    Packing,
    Solution,
    arrange,
    component_bounds,
    components,
    improve,
    order_weight,
    search,
)
from curate.rankers.feedback_arc_set.weights import Weights, steps_proven

if TYPE_CHECKING:
    from scipy import sparse

VIOLATION = 1e-6
"""A cycle is added if its arcs' z sum to less than 1 by this much."""
HOP = 1e-7
"""Length added to each arc, so that of equally short cycles the one with the fewest arcs is found."""
EXACT = 2.0**52
"""Whole numbers whose sums stay below this are added without rounding."""
PROGRAM_STEPS = 50_000
"""Steps that a linear program takes besides its iterations and the search for cycles."""
STATE_STEPS = 0.3
"""Steps that a subset takes, times n²."""


class Node(NamedTuple):
    """A node of branch and bound: the orders that disagree with some given arcs and agree with some others."""

    bound: float
    """No order of this node costs less."""
    born: int
    """Of nodes with equal bounds the oldest comes first."""
    low: Float
    """(A,) 1 for arcs that its orders disagree with."""
    high: Float
    """(A,) 0 for arcs that its orders agree with."""
    z: Float
    """(A,) the last solution of its linear program."""


def prove(weights: Weights, order: Index, max_states: int, max_programs: int, max_steps: float = math.inf) -> Solution:
    """Solve one strongly connected component of n ≥ 3 responses; the bound is in steps of vote weight.

    weights: of its responses. order: (n,) a good order to start from. max_states: sets that the dynamic programme may
    store. max_programs: linear programs to solve. max_steps: work. All are counts, so that no result depends on the
    clock.
    """
    if max_steps < len(order) ** 3 + PROGRAM_STEPS:
        return Solution(order, 0.0)
    program = CoverProgram(weights.net, order, max_programs, max_steps)
    root = program.relax(program.all_orders(), program.cost)
    states = int(min(max_states, program.steps / (STATE_STEPS * len(order) ** 2)))
    if root.bound < program.cost and len(order) <= MAX_RESPONSES and states > 0:
        found = search(arrange(weights.net, program.order), program.packing(), program.cost, states)
        program.steps -= found.states * STATE_STEPS * len(order) ** 2
        if found.finished:
            best = program.order[found.order]
            return Solution(best, order_weight(weights.whole, best))
    bound = branch(program, root, weights)
    return Solution(program.order, min(steps_proven(bound, weights), order_weight(weights.whole, program.order)))


def branch(program: CoverProgram, root: Node, weights: Weights) -> float:
    """Return the highest bound on the cost of any order that branch and bound on arcs proves within the budget.

    It ends when it proves the steps that the best order costs. The node with the lowest bound is next; it branches on
    the arc whose z is nearest to 1/2.
    """
    queue, born = [root], 0
    while True:
        node = heapq.heappop(queue)  # never empty: the side that disagrees with an arc is always pushed
        steps = order_weight(weights.whole, program.order)
        free = node.low < node.high
        if steps_proven(node.bound, weights) >= steps or program.exhausted or not free.any():
            return node.bound
        arc = int(np.where(free, np.abs(node.z - 0.5), np.inf).argmin())
        enough = float((steps - 1) * weights.scale + weights.swing)
        for side in (0.0, 1.0):
            low, high = node.low.copy(), node.high.copy()
            low[arc] = high[arc] = side
            born += 1
            if side or program.acyclic(np.flatnonzero(high == 0)):
                heapq.heappush(queue, program.relax(Node(node.bound, born, low, high, node.z), enough))


class CoverProgram:
    """One component's arcs, the cycles found so far, the solver that holds them, and the best order known."""

    def __init__(self, net: Float, order: Index, programs: int, steps: float = math.inf) -> None:
        """net: (n, n) antisymmetric whole numbers. order: (n,) a good one. programs, steps: that it may take."""
        self.net, self.order, self.cost, self.programs, self.steps = (
            net,
            order,
            order_weight(net, order),
            programs,
            steps,
        )
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
        self.solver.setOptionValue("solver", "simplex")
        self.solver.setOptionValue("presolve", "off")
        self.solver.addVars(len(self.weight), np.zeros(len(self.weight)), np.ones(len(self.weight)))
        self.solver.changeColsCost(len(self.weight), self.columns, self.weight / self.weight.mean())
        self._add_violated(np.zeros(len(self.weight)))

    @property
    def exhausted(self) -> bool:
        """Whether the budget of programs or of steps is used up."""
        return self.programs <= 0 or self.steps <= 0

    def all_orders(self) -> Node:
        """Return the root of branch and bound."""
        none = np.zeros(len(self.weight))
        return Node(0.0, 0, none, none + 1, none)

    def relax(self, node: Node, enough: float) -> Node:
        """Return the node with its z and a higher bound: cycles are added until none is violated.

        It stops once the bound exceeds ``enough`` or the budget is used up. Without a solution from the solver, the
        best bound so far stands. Each solution may also lead to a better order.
        """
        bound, z = node.bound, node.z
        self.solver.changeColsBounds(len(z), self.columns, node.low, node.high)
        while not self.exhausted:
            if not self._solve():
                break
            answer = self.solver.getSolution()
            z = np.clip(np.array(answer.col_value), node.low, node.high)
            self.amount = np.rint(np.maximum(answer.row_dual, 0) * self.weight.mean())
            bound = max(bound, self.certify(node))
            self._round(z)
            if bound > enough or not self._add_violated(z):
                break
        return node._replace(bound=bound, z=z)

    def _solve(self) -> bool:
        """Solve the linear program within the budget; return whether there is a solution, optimal or not."""
        size = len(self.cycles) + len(self.weight)
        limit = int(min(max(self.steps / size, 1), highspy.kHighsIInf))
        self.solver.setOptionValue("simplex_iteration_limit", limit)
        self.solver.run()
        self.programs -= 1
        iterations = self.solver.getInfo().simplex_iteration_count
        self.steps -= max(iterations, 0) * size + len(self.net) ** 3 + PROGRAM_STEPS
        stopped = highspy.HighsModelStatus.kIterationLimit
        return self.solver.getModelStatus() in (highspy.HighsModelStatus.kOptimal, stopped)

    def packing(self) -> Packing:
        """Return the last multipliers as a packing in the best order known, each cut to what its arcs have left."""
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
        """Return whether some order agrees with all these arcs."""
        kept = np.zeros_like(self.net)
        kept[self.tail[arcs], self.head[arcs]] = 1.0
        return len(component_bounds(components(kept[None]).label[0])) == len(kept) + 1

    def certify(self, node: Node) -> float:
        """Return the lower bound that the multipliers prove for a node; 0 if it cannot be summed exactly."""
        cycles = self.cycles[: len(self.amount)]
        length = np.array([len(cycle) for cycle in cycles], dtype=np.int64)
        if self.amount @ length > EXACT:
            return 0.0
        arcs = np.concatenate([np.zeros(0, dtype=np.int64), *cycles])
        reduced = self.weight - np.bincount(arcs, np.repeat(self.amount, length), len(self.weight))
        return float(self.amount.sum() + np.where(reduced < 0, node.high * reduced, node.low * reduced).sum())

    def _round(self, z: Float) -> None:
        """Keep the order that agrees with the arcs of low z, improved by local search, if it is the best so far."""
        follow = self.net.copy()
        disagrees = z > 0.5
        follow[self.tail[disagrees], self.head[disagrees]] = 0
        order = self.order[components(arrange(follow, self.order)[None]).order[0]]
        order = improve(self.net, order, thorough=len(order) <= MAX_RESPONSES)
        cost = order_weight(self.net, order)
        if cost < self.cost:
            self.order, self.cost = order, cost

    def _add_violated(self, z: Float) -> bool:
        """Add the shortest cycle through each arc if z violates it; return whether any was added."""
        found = [tuple(sorted(cycle)) for cycle in violated_cycles(self.number, self.tail, self.head, z)]
        fresh = list(dict.fromkeys(found))
        if fresh:
            count = len(fresh)
            starts = np.cumsum([0] + [len(cycle) for cycle in fresh[:-1]], dtype=np.int32)
            entries = np.concatenate(fresh).astype(np.int32)
            ones, endless = np.ones(count), np.full(count, highspy.kHighsInf)
            self.solver.addRows(count, ones, endless, len(entries), starts, entries, np.ones(len(entries)))
            self.cycles += fresh
        return bool(fresh)


def violated_cycles(number: Index, tail: Index, head: Index, z: Float) -> list[list[int]]:
    """Return the arcs of the shortest cycle by z through each arc whose cycle is shorter than 1 (Floyd and Warshall).

    number: (n, n) of each arc, −1 where there is none. tail, head, z: (A,).
    """
    n = len(number)
    length, following = np.full((n, n), np.inf), np.zeros((n, n), dtype=np.int64)  # following: next on the way i → j
    length[tail, head], following[tail, head] = z + HOP, head
    for k in range(n):
        rows = np.flatnonzero(length[:, k] < 1)  # a longer path is part of no violated cycle
        through = length[rows, k, None] + length[k]
        shorter = through < length[rows]
        length[rows] = np.where(shorter, through, length[rows])
        following[rows] = np.where(shorter, following[rows, k, None], following[rows])
    step, arc_of, cycles = following.tolist(), number.tolist(), []
    for a in np.flatnonzero(z + length[head, tail] < 1 - VIOLATION).tolist():
        cycle, stop, end = [a], int(head[a]), int(tail[a])
        while stop != end:
            cycle.append(arc_of[stop][step[stop][end]])
            stop = step[stop][end]
        cycles.append(cycle)
    return cycles


def order_by_program(net: Float) -> Solution:
    """Return an order of least cost and its cost as HiGHS states it, by the linear ordering problem through cvxpy.

    x_ij = 1 if i stands before j, one variable per pair; no three responses form a cycle (Grötschel, Jünger and
    Reinelt, 1984). The general formulation, independent of the search and some hundred times slower. net: (N, N).
    """
    import cvxpy as cp

    n = len(net)
    i, j = np.triu_indices(n, 1)
    if not len(i):
        return Solution(np.arange(n), 0.0)
    before = cp.Variable(len(i), boolean=True)
    # A pair costs net[j, i] if i stands before j against the votes, net[i, j] if it does not.
    cost = np.maximum(net[j, i], 0) - np.maximum(net[i, j], 0)
    triples = _triples(n)
    limits = [triples @ before <= 1, triples @ before >= 0] if triples.shape[0] else []
    problem = cp.Problem(cp.Minimize(cost @ before + np.maximum(net[i, j], 0).sum()), limits)
    problem.solve(solver=cp.HIGHS, mip_rel_gap=0, mip_abs_gap=0)  # type: ignore[no-untyped-call]
    assert before.value is not None
    ahead = np.zeros((n, n))
    ahead[i, j] = np.round(before.value)
    ahead[j, i] = 1 - ahead[i, j]
    return Solution(np.argsort(-ahead.sum(axis=1), kind="stable"), float(problem.value))


def _triples(n: int) -> sparse.csr_array:
    """Return the (triples, pairs) matrix of x_ij + x_jk − x_ik, which is 0 or 1 unless the three form a cycle."""
    from scipy import sparse

    i, j = np.triu_indices(n, 1)
    number = np.zeros((n, n), dtype=np.int64)
    number[i, j] = np.arange(len(i))
    a, b, c = (index.ravel() for index in np.meshgrid(*[np.arange(n)] * 3, indexing="ij"))
    a, b, c = (index[(a < b) & (b < c)] for index in (a, b, c))
    columns = np.stack([number[a, b], number[b, c], number[a, c]], axis=1)
    at = np.repeat(np.arange(len(columns)), 3)
    return sparse.csr_array((np.tile([1.0, 1.0, -1.0], len(columns)), (at, columns.ravel())), (len(columns), len(i)))

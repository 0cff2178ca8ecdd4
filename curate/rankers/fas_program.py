"""The feedback arc set as an integer program, for problems that the subsets cannot finish: branch and bound over LPs.

x_ij = 1 where i stands before j, one unknown for each pair i < j. An order is a 0/1 vector that turns no triple into a
circle: 0 ≤ x_ij + x_jk − x_ik ≤ 1 (Grötschel, Jünger and Reinelt, 1984). These rows are added only where an answer
breaks them. HiGHS, through cvxpy, only proposes: each node's bound is recomputed from its multipliers y ≥ 0 of the
rows, rounded to whole fractions, as Σ over pairs of the smaller of their two reduced costs, plus y's own part, which
no order undercuts whatever y is (Lagrange). So a wrong or unfinished answer of the solver can cost time, never truth.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float
from curate.rankers.fas_search import Index, against, improve

STEPS = 2.0**12
"""Multipliers are rounded to 1/STEPS, so that bounds are summed exactly."""
VIOLATED = 1e-6
"""A row counts as broken beyond this."""
ROWS_A_ROUND = 2_000
"""Broken rows added at a time, the worst first."""

Fixed = npt.NDArray[np.int8]


class Proved(NamedTuple):
    """The best order found and what was proved of it."""

    order: Index
    """(n,) best first."""
    cost: float
    bound: float
    """No order costs less. Equal to cost when the budget sufficed."""


def branch_and_bound(net: Float, order: Index, max_nodes: int) -> Proved:
    """Solves one problem. net: (n, n) antisymmetric whole numbers; order: (n,) a good order to start from.

    The node with the lowest bound is next, and max_nodes linear programs are solved at most: a count, so that the
    answer does not depend on the clock. With the budget spent, bound is the lowest of the open nodes.
    """
    program = _Program.of(net, max_nodes)
    best, cost = order, float(against(net[None], order[None])[0])
    queue: list[tuple[float, int, Fixed]] = [(0.0, 0, np.full(len(program.i), -1, dtype=np.int8))]
    born = 0
    while queue and queue[0][0] < cost and program.budget > 0:
        bound, _, fixed = heapq.heappop(queue)
        node = program.relax(fixed, cost)
        proposal = improve(net[None], node.order[None])
        proposed = float(against(net[None], proposal)[0])
        if proposed < cost:
            best, cost = proposal[0], proposed
        bound = max(bound, node.bound)
        if bound >= cost:
            continue
        for side in (0, 1):
            born += 1
            child = fixed.copy()
            child[_branching(node.x, fixed)] = side
            heapq.heappush(queue, (bound, born, child))
    return Proved(best, cost, min([cost] + [open_bound for open_bound, _, _ in queue]))


def _branching(x: Float, fixed: Fixed) -> int:
    """The free pair whose x is nearest to 1/2."""
    return int(np.where(fixed < 0, np.abs(x - 0.5), np.inf).argmin())


class _Node(NamedTuple):
    x: Float
    """(m,) the linear program's last answer."""
    bound: float
    """Recomputed; a whole number."""
    order: Index
    """(n,) responses by how many the answer puts after them."""


@dataclass
class _Program:
    """One problem's pairs and weights, and the rows found broken so far, which all nodes share."""

    size: int
    i: Index
    """(m,) pairs i < j."""
    j: Index
    gain: Float
    """(m,) net weight for i before j."""
    number: Index
    """(n, n) the pair's number at [i, j], i < j."""
    budget: int
    """Linear programs that may still be solved."""
    rows: Index = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    """(r, 3) pairs ij, jk, ik of the rows in use."""

    @classmethod
    def of(cls, net: Float, budget: int) -> _Program:
        n = len(net)
        i, j = np.triu_indices(n, 1)
        number = np.zeros((n, n), dtype=np.int64)
        number[i, j] = np.arange(len(i))
        return cls(n, i, j, net[i, j], number, budget)

    def relax(self, fixed: Fixed, cost: float) -> _Node:
        """Solves the relaxation with some pairs fixed (0, 1; −1 free), adding rows until none is broken.

        It stops early once the bound reaches cost or the budget is spent. Without an answer from the solver, the best
        bound so far stands.
        """
        bound, x = 0.0, np.where(self.gain >= 0, 1.0, 0.0)
        while self.budget > 0:
            self.budget -= 1
            answer = self._solve(fixed)
            if answer is None:
                break
            x, multiplier = answer
            bound = max(bound, self._certify(multiplier, fixed))
            if bound >= cost or not self._add_broken(x):
                break
        return _Node(x, bound, self._rounded(x))

    def _solve(self, fixed: Fixed) -> tuple[Float, Float] | None:
        """(m,) x and (r,) multipliers of the rows (above 0: x_ij + x_jk − x_ik ≤ 1 binds; below 0: ≥ 0 does)."""
        solve = _solver()
        return solve(-self.gain, self.rows, np.where(fixed == 1, 1.0, 0.0), np.where(fixed == 0, 0.0, 1.0))

    def _certify(self, multiplier: Float, fixed: Fixed) -> float:
        """The lower bound that these multipliers prove, up to the next whole number."""
        y = np.round(multiplier * STEPS) / STEPS
        reduced = -self.gain.copy()
        for column, sign in enumerate((1.0, 1.0, -1.0)):
            np.add.at(reduced, self.rows[:, column], sign * y)
        cheapest = np.where(fixed == 1, reduced, np.where(fixed == 0, 0.0, np.minimum(reduced, 0.0)))
        value = np.maximum(self.gain, 0).sum() - np.maximum(y, 0).sum() + cheapest.sum()
        return float(max(0.0, np.ceil(value)))

    def _add_broken(self, x: Float) -> bool:
        """Adds the most broken rows that x does not satisfy; false when there are none."""
        n = self.size
        before = np.zeros((n, n))
        before[self.i, self.j] = x
        i, j, k = np.meshgrid(np.arange(n), np.arange(n), np.arange(n), indexing="ij", sparse=True)
        turn = before[:, :, None] + before[None, :, :] - before[:, None, :]  # x_ij + x_jk − x_ik at [i, j, k]
        excess = np.where((i < j) & (j < k), np.maximum(turn - 1, -turn), 0.0)
        broken = np.argwhere(excess > VIOLATED)
        worst = np.argsort(-excess[tuple(broken.T)], kind="stable")[:ROWS_A_ROUND]
        a, b, c = broken[worst].T
        fresh = np.stack([self.number[a, b], self.number[b, c], self.number[a, c]], axis=1)
        known = {tuple(row) for row in self.rows.tolist()}
        fresh = fresh[[tuple(row) not in known for row in fresh.tolist()]]
        self.rows = np.concatenate([self.rows, fresh])
        return len(fresh) > 0

    def _rounded(self, x: Float) -> Index:
        ahead = np.bincount(self.i, x, self.size) + np.bincount(self.j, 1 - x, self.size)
        return np.argsort(-np.round(ahead, 6), kind="stable")


Solver = Callable[[Float, Index, Float, Float], tuple[Float, Float] | None]


def _solver() -> Solver:
    """minimise cost · x with rows 0 ≤ x_ij + x_jk − x_ik ≤ 1 and bounds on x; cvxpy is loaded at the first use."""
    import cvxpy as cp
    from scipy import sparse

    def solve(cost: Float, rows: Index, low: Float, high: Float) -> tuple[Float, Float] | None:
        x = cp.Variable(len(cost))
        limits = [x >= low, x <= high]
        if not len(rows):
            problem, turns = cp.Problem(cp.Minimize(cost @ x), limits), []
        else:
            at = np.repeat(np.arange(len(rows)), 3)
            signs = np.tile([1.0, 1.0, -1.0], len(rows))
            turn = sparse.csr_array((signs, (at, rows.ravel())), shape=(len(rows), len(cost)))
            turns = [turn @ x <= 1, turn @ x >= 0]
            problem = cp.Problem(cp.Minimize(cost @ x), limits + turns)
        try:
            problem.solve(solver=cp.HIGHS)  # type: ignore[no-untyped-call]
        except cp.SolverError:
            return None
        if x.value is None:  # infeasible: fixed pairs that no order satisfies
            return None
        multiplier = turns[0].dual_value - turns[1].dual_value if turns else np.zeros(0)
        return np.clip(x.value, 0, 1), multiplier

    return solve

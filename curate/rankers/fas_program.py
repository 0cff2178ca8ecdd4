"""Components that the subsets alone cannot finish: the best packing of cycles, subsets with its help, and branches."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from curate.rankers.fas_cover import CoverProgram, Node
from curate.rankers.fas_search import Index, against, arrange
from curate.rankers.fas_subsets import MOST_RESPONSES, search
from curate.rankers.fas_weights import Weights, steps_proved


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

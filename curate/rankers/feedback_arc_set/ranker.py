"""Minimum feedback arc set: the order that the least vote weight goes against (Kemeny's order), proved optimal.

How a prompt's order is found:

1. Only net weights matter: every order pays Σ min(W_ij, W_ji). They become whole numbers that put vote weight first and
   agreement with Bradley-Terry second: of several optimal orders the answer is the one that agrees
   most with Bradley-Terry, not the one that happens to come first.
2. Strongly connected components are solved on their own and put one after the other; no arc goes back between them.
3. Starting from Bradley-Terry's order, blocks are moved until no move helps (``search``): an upper bound.
4. Short directed cycles are packed: a lower bound. Often it meets the upper one.
5. Otherwise a dynamic program over subsets, pruned by both bounds, finds the optimum.
6. Where a small budget of subsets does not do, a linear program finds the best packing of cycles (``programs``). It
   guides the subsets once more, and what is then still open is left to branch and bound on its arcs,
   until that budget ends too. The order is the best known in any case.

The proof: the bound of every step is a set of weighted cycles, an exhausted search, or multipliers whose value is
recomputed here, all in whole numbers, without rounding; times the grid's step, less what rounding to the grid can have
changed, and with Σ min(W_ij, W_ji) added, it bounds the cost of any order on the original weights. The cost is counted
from the order itself. Solved says that the two meet, to one part in 10⁷ of the prompt's vote weight (weights that are
multiples of 1/2, 1/120 or 1/2000 are on a grid and meet but for the last bits of a sum). That the order is also the
best by agreement with Bradley-Terry is the rule, but no promise: where branch and bound was needed, it is only such
that no move of blocks improves it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from curate.rankers.base import Float, Ranking
from curate.rankers.bradley_terry import fit
from curate.rankers.feedback_arc_set.search import (
    Index,
    Weights,
    against,
    arrange,
    component_order,
    components,
    conclude,
    solve_easy,
    steps_proved,
    weigh,
)
from curate.rankers.result import TIE_DECIMALS, ranking_of
from curate.votes.arrays import VoteArrays
from curate.votes.graphs import GraphBatch

Solver = Literal["search", "integer-program"]

TOLERANCE = 1e-7
"""Cost and bound meet when they differ by no more than this part of the prompt's vote weight."""
FIRST_TRY = 5_000
"""Subsets allowed to a component before a linear program is asked for better cycles."""


@dataclass(frozen=True)
class FeedbackArcSet:
    """Ranks by place in a minimum feedback arc set's order, N − 1 for the first and 0 for the last.

    Neighbours that nothing separates, neither a net vote nor Bradley-Terry strength, share their mean place.
    """

    max_states: int = 200_000
    """Subsets that the dynamic program may hold for one component of a prompt."""
    max_nodes: int = 100
    """Linear programs that may be solved for one component, where the subsets are too many."""
    solver: Solver = "search"
    """integer-program: HiGHS through cvxpy on every prompt instead, bounds by its own word; among optimal orders it
    takes any."""
    ridge: float = 0.1
    """Precision of the prior of the Bradley-Terry strengths that choose among optimal orders, 1 / logits²."""

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.zeros(len(votes.responses))
        bound, total = np.zeros(len(votes.prompts)), np.zeros(len(votes.prompts))
        for graphs in votes.graphs:
            scores[graphs.slots], bound[graphs.prompts] = self._solve(graphs)
            total[graphs.prompts] = graphs.wins.sum(axis=(1, 2))
        ranking = ranking_of(votes, scores)
        converged = ranking.cost - bound <= TOLERANCE * total
        return replace(ranking, converged=converged, bound=np.minimum(bound, ranking.cost))

    def _solve(self, graphs: GraphBatch) -> tuple[Float, Float]:
        """(B, N) scores and a (B,) bound on the cost of any order, vote weight."""
        wins = graphs.wins
        strength = np.round(fit(wins, self.ridge).strength, TIE_DECIMALS)
        # All that follows sees the responses in Bradley-Terry's order, whatever numbers they came with.
        number = np.broadcast_to(np.arange(wins.shape[1]), strength.shape)
        start = np.lexsort((number, -wins.sum(axis=2), -strength))
        if self.solver == "integer-program":
            return self._by_program(wins, strength, start)
        first_try = min(FIRST_TRY, self.max_states)
        scores, bound, is_open = solve_easy(wins, strength, start, first_try)
        for b in np.flatnonzero(is_open):
            arranged, mine = arrange(wins[b], start[b]), strength[b, start[b]]
            weights = weigh(arranged, mine)
            order, steps = self._solve_hard(weights, first_try)
            scores[b, start[b]], bound[b] = conclude(arranged, mine, weights, order, steps)
        return scores, bound

    def _by_program(self, wins: Float, strength: Float, start: Index) -> tuple[Float, Float]:
        """The same by the integer program."""
        from curate.rankers.feedback_arc_set.programs import order_by_program

        scores, bound = np.empty(strength.shape), np.empty(len(wins))
        for b in range(len(wins)):
            arranged, mine = arrange(wins[b], start[b]), strength[b, start[b]]
            weights = weigh(arranged, mine)
            order, steps = order_by_program(weights.whole)
            scores[b, start[b]], bound[b] = conclude(arranged, mine, weights, order, steps)
        return scores, bound

    def _solve_hard(self, weights: Weights, first_try: int) -> tuple[Index, float]:
        """(N,) an order and the steps of vote weight that every order is proved to pay."""
        from curate.rankers.feedback_arc_set.programs import prove

        order, starts = components(weights.net)
        steps = 0.0
        for first, after in pairwise(starts):
            members = order[first:after]
            part = weights._replace(net=arrange(weights.net, members), whole=arrange(weights.whole, members))
            found, bound = component_order(part.net, first_try)
            proved = steps_proved(bound, part)
            if bound < against(part.net, found):
                found, proved = prove(part, found, self.max_states, self.max_nodes)
            order[first:after] = members[found]
            steps += proved
        return order, steps

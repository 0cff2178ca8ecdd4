"""Minimum feedback arc set: the order that the least vote weight goes against (Kemeny's order), proved optimal.

How an order is found, for all prompts of a batch at once:

1. Only net weights matter: every order pays Σ min(W_ij, W_ji). They become whole numbers that put vote weight first and
   agreement with Bradley-Terry second (``fas_weights``): of several optimal orders the answer is the one that agrees
   most with Bradley-Terry, not the one that happens to come first.
2. Strongly connected components are solved on their own and put one after the other; no arc goes back between them.
3. Starting from Bradley-Terry's order, blocks are moved until no move helps (``fas_search``): an upper bound.
4. Directed cycles are packed (``fas_bounds``): a lower bound. Often it meets the upper one.
5. Otherwise a dynamic program over subsets, pruned by both bounds, finds the optimum (``fas_subsets``).
6. Where its budget ends, 2 to 5 are done again for vote weight alone; if that does not do, the best packing of cycles
   is found by a linear program (``fas_cycles``) and guides the subsets once more; and what is then still open is left
   to an integer program (``fas_program``), until its budget ends too. The order is the best known in any case.

The proof: the bound of every step is a set of weighted cycles, an exhausted search, or multipliers whose value is
recomputed here, all in whole numbers or binary fractions, without rounding; times the grid's step, less what rounding
to the grid can have changed, and with Σ min(W_ij, W_ji) added, it bounds the cost of any order on the original
weights. The cost is counted from the order itself. Solved says that the two meet, to one part in 10⁷ of the prompt's
vote weight (weights that are multiples of 1/2, 1/120 or 1/2000 are on a grid and meet but for the last bits of a sum).
That the order is also the best by agreement with
Bradley-Terry is the rule, but no promise: where step 6 was needed, it is only such that no move of blocks improves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.graphs import GraphBatch
from curate.rankers.base import Float, Ranking
from curate.rankers.bradley_terry import fit
from curate.rankers.fas_components import minimum_orders
from curate.rankers.fas_search import Index, against, arrange, improve
from curate.rankers.fas_weights import Lexicographic, lexicographic, steps_proved, to_grid
from curate.rankers.result import TIE_DECIMALS, ranking_of
from curate.votes import VoteArrays

TOLERANCE = 1e-7
"""Cost and bound meet when they differ by no more than this part of the prompt's vote weight."""


@dataclass(frozen=True)
class FeedbackArcSet:
    """Ranks by place in a minimum feedback arc set's order, N − 1 for the first and 0 for the last.

    Neighbours that nothing separates, neither a net vote nor Bradley-Terry strength, share their mean place.
    """

    max_states: int = 200_000
    """Subsets that the dynamic program may hold for one component of a prompt."""
    max_nodes: int = 300
    """Linear programs that branch and bound may solve for one component, once the subsets are too many."""
    ridge: float = 0.1
    """Precision of the prior of the Bradley-Terry strengths that choose among optimal orders, 1 / logits²."""

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.zeros(len(votes.responses))
        bound = np.zeros(len(votes.prompts))
        total = np.zeros(len(votes.prompts))
        for graphs in votes.graphs:
            answer = self._solve(graphs)
            scores[graphs.slots] = answer.scores
            bound[graphs.prompts] = answer.bound
            total[graphs.prompts] = graphs.wins.sum(axis=(1, 2))
        ranking = ranking_of(votes, scores)
        return ranking_of(
            votes,
            scores,
            solved=ranking.cost - bound <= TOLERANCE * total,
            bound=np.minimum(bound, ranking.cost),
        )

    def _solve(self, graphs: GraphBatch) -> _Answer:
        wins = graphs.wins
        b = np.arange(len(wins))[:, None]
        strength = np.round(fit(wins, self.ridge).strength, TIE_DECIMALS)
        # All that follows sees the responses in Bradley-Terry's order, whatever numbers they came with.
        start = np.lexsort((np.broadcast_to(np.arange(wins.shape[1]), strength.shape), -wins.sum(axis=2), -strength))
        wins, strength = arrange(wins, start), np.take_along_axis(strength, start, axis=1)
        net = wins - wins.swapaxes(1, 2)
        whole = to_grid(net)
        weights = lexicographic(whole.net, strength)
        order, steps = self._orders(whole.net, weights)
        unavoidable = np.minimum(wins, wins.swapaxes(1, 2)).sum(axis=(1, 2)) / 2
        scores = np.empty(strength.shape)
        scores[b, start[b, order]] = _places(arrange(whole.net, order), np.take_along_axis(strength, order, axis=1))
        return _Answer(scores, np.maximum(steps * whole.step - whole.slack, 0) + unavoidable)

    def _orders(self, whole: Float, weights: Lexicographic) -> tuple[Index, Float]:
        """(B, N) orders and (B,) the steps of vote weight that every order is proved to pay."""
        order, bound = minimum_orders(weights.net, self.max_states, max_nodes=0)
        steps = steps_proved(bound, weights)
        rows = np.flatnonzero(steps < against(whole, order))
        if len(rows):
            by_votes, lower = minimum_orders(arrange(whole[rows], order[rows]), self.max_states, self.max_nodes)
            steps[rows] = np.maximum(steps[rows], lower)
            again = improve(weights.net[rows], np.take_along_axis(order[rows], by_votes, axis=1))
            better = against(weights.net[rows], again) < against(weights.net[rows], order[rows])
            order[rows[better]] = again[better]
        return order, steps


class _Answer(NamedTuple):
    scores: Float
    """(B, N)"""
    bound: Float
    """(B,) on the cost of any order, vote weight."""


def _places(net: Float, strength: Float) -> Float:
    """(B, N) N − 1 − place, averaged over neighbours that nothing separates.

    net: (B, N, N) and strength: (B, N), in the final order. A run of equals ends where any two of it differ.
    """
    batch, n = strength.shape
    same = (net == 0) & (strength[:, :, None] == strength[:, None, :])
    run = np.zeros((batch, n), dtype=np.int64)  # (B, N) the first place of each place's run
    place = np.arange(n)
    for p in range(1, n):
        in_run = (place < p) & (place >= run[:, p - 1, None])
        run[:, p] = np.where((same[:, p] | ~in_run).all(axis=1), run[:, p - 1], p)
    length: npt.NDArray[np.int64] = (run[:, :, None] == run[:, None, :]).sum(axis=2)
    places: Float = n - 1 - (run + (length - 1) / 2)
    return places

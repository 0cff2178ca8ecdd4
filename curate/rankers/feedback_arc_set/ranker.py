"""Minimum feedback arc set: the order that the least vote weight disagrees with (Kemeny's order), with a proof.

The steps for each prompt:

1. Only net weights matter, because every order costs Σ min(W_ij, W_ji). They become whole numbers that put vote weight
   first and agreement with Bradley-Terry second (``weights``), so that the result does not depend on the numbering.
2. Strongly connected components are solved separately and concatenated (``search``). Small ones: all permutations.
   Others: local search from Bradley-Terry's order gives an upper bound, packed cycles give a lower bound, and if they
   differ, a dynamic programme over subsets that both bounds prune finds the optimum.
3. If a small budget of subsets does not suffice, a linear program finds the best packing of cycles (``programs``). It
   prunes the subsets once more; what is still open is left to branch and bound on arcs, within a second budget. The
   prompts that reach this step share one budget equally, so that no result depends on their order or on the clock.

The proof: the bound of every step is a set of weighted cycles, an exhausted search, or multipliers whose value is
recomputed here, all in whole numbers without rounding. Multiplied by the grid's step, less the change from rounding to
the grid, plus Σ min(W_ij, W_ji), it bounds the cost of any order on the original weights. The cost is counted from the
order itself. Cost and bound meet if they differ by at most one part in 10⁷ of the prompt's vote weight (weights that
are multiples of 1/2, 1/120 or 1/2000 are on a grid and meet up to the last bits of a sum). After branch and bound, the
order is optimal by votes, but among optimal orders it is only locally the best by agreement with Bradley-Terry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from curate.array_types import Bool, Float, Index
from curate.rankers.base import TIE_DECIMALS, RankerSpec, Ranking, blocks, ranking_of
from curate.rankers.bradley_terry import mode_of
from curate.rankers.feedback_arc_set.search import (
    MAX_PERMUTED,
    Solution,
    component_bounds,
    component_order,
    components,
    improve_all,
    order_weight,
)
from curate.rankers.feedback_arc_set.weights import Weights, steps_proven, weigh
from curate.votes.arrays import VoteArrays
from schemas.config import DenoiseConfig

Solver = Literal["search", "integer-program"]

TOLERANCE = 1e-7
"""Cost and bound meet if they differ by at most this share of the prompt's vote weight."""
FIRST_TRY = 5_000
"""Subsets per component before a linear program computes better cycles."""


class Orders(NamedTuple):
    """The result for B prompts with N responses each."""

    scores: Float
    """(B, N) N − 1 − place, averaged over neighbours that nothing separates."""
    bound: Float
    """(B,) lower bound on the cost of any order, vote weight."""


@dataclass(frozen=True)
class FeedbackArcSet:
    """Rank by place in a minimum feedback arc set's order: N − 1 for the first response and 0 for the last.

    Neighbours that neither a net vote nor Bradley-Terry strength separates share their mean place.
    """

    max_states: int = 200_000
    """Subsets that the dynamic programme may store for one component of a prompt."""
    max_nodes: int = 100
    """Linear programs that may be solved for one component if the subsets do not suffice."""
    max_steps: float = 1e8
    """Steps of work (``programs``) on one component."""
    max_total_steps: float = 2e8
    """Steps of work on all prompts, of which each one that is still open gets an equal share."""
    prove: bool = True
    """False: local search only, where an order is needed but no proof."""
    solver: Solver = "search"
    """integer-program: HiGHS through cvxpy on every prompt, with HiGHS's own bounds; any of several optimal orders."""
    ridge: float = 0.1
    """Precision of the prior of the Bradley-Terry strengths that choose among optimal orders, 1 / logits²."""

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores, bound = np.zeros(len(votes.responses)), np.zeros(len(votes.prompts))
        total = np.zeros(len(votes.prompts))
        strengths = [mode_of(graphs, self.ridge).strength for graphs in votes.graphs]
        for graphs in votes.graphs:
            total[graphs.prompts] = graphs.wins.sum(axis=(1, 2))

        def solve(wanted: Bool, steps: float) -> Ranking:
            for graphs, strength in zip(votes.graphs, strengths, strict=True):
                mine = np.flatnonzero(wanted[graphs.prompts])
                for block in blocks(len(mine), graphs.wins.shape[1] ** 2):
                    rows = mine[block]
                    found = self._solve(graphs.wins[rows], strength[rows], steps)
                    scores[graphs.slots[rows]], bound[graphs.prompts[rows]] = found.scores, found.bound
            ranking = ranking_of(votes, scores)
            converged = ranking.cost - bound <= TOLERANCE * total
            return replace(ranking, converged=converged, bound=np.minimum(bound, ranking.cost))

        ranking = solve(np.ones(len(bound), dtype=np.bool_), 0.0)
        unproven = ~ranking.converged
        if self.prove and unproven.any():
            ranking = solve(unproven, min(self.max_steps, self.max_total_steps / int(unproven.sum())))
        return ranking

    def _solve(self, wins: Float, strength: Float, steps: float) -> Orders:
        """Return the result for B prompts of one size.

        wins: (B, N, N). strength: (B, N) of Bradley-Terry. steps: work on each component after the first try.
        """
        strength = np.round(strength, TIE_DECIMALS)
        # The search sees the responses in Bradley-Terry's order, so that their numbering does not matter.
        number = np.broadcast_to(np.arange(wins.shape[1]), strength.shape)
        start = np.lexsort((number, -wins.sum(axis=2), -strength))
        wins = np.take_along_axis(np.take_along_axis(wins, start[:, :, None], axis=1), start[:, None, :], axis=2)
        strength = np.take_along_axis(strength, start, axis=1)
        weights = weigh(wins, strength)
        program = self.prove and self.solver == "integer-program"
        order, proven = self._by_program(weights) if program else self._by_search(weights, steps)
        found = conclude(wins, strength, weights, order, proven)
        scores = np.empty_like(strength)
        np.put_along_axis(scores, start, found.scores, axis=1)
        return Orders(scores, found.bound)

    def _by_search(self, weights: Weights, steps: float) -> tuple[Index, Float]:
        """Return (B, N) orders and the (B,) steps of vote weight that every order costs."""
        found = components(weights.net)
        order, proven = found.order, np.zeros(len(found.order))
        if not self.prove and order.shape[1] > MAX_PERMUTED:
            return improve_all(weights.net, order), proven
        cyclic = (np.diff(found.label, axis=1) == 0).any(axis=1)  # the order of the other prompts has cost 0
        for b in np.flatnonzero(cyclic).tolist():
            mine = weights.of(b)
            for first, after in pairwise(component_bounds(found.label[b])):
                if after - first > 1:
                    members = order[b, first:after].copy()
                    part = self._solve_component(mine.part(members), steps)
                    order[b, first:after] = members[part.order]
                    proven[b] += part.bound
        return order, proven

    def _solve_component(self, weights: Weights, steps: float) -> Solution:
        """Return an order of one component, and as its bound the steps of vote weight that every order costs."""
        found = component_order(weights.net, min(FIRST_TRY, self.max_states))
        proven = steps_proven(found.bound, weights)
        if steps > 0 and found.bound < order_weight(weights.net, found.order):
            from curate.rankers.feedback_arc_set.programs import prove

            better = prove(weights, found.order, self.max_states, self.max_nodes, steps)
            return Solution(better.order, max(better.bound, proven))
        return Solution(found.order, proven)

    def _by_program(self, weights: Weights) -> tuple[Index, Float]:
        """Return the same by the integer program."""
        from curate.rankers.feedback_arc_set.programs import order_by_program

        found = [order_by_program(whole) for whole in weights.whole]
        return np.stack([one.order for one in found]), np.array([one.bound for one in found])


def conclude(wins: Float, strength: Float, weights: Weights, order: Index, steps: Float) -> Orders:
    """Return the scores of (B, N) orders and the bound on the cost of any order that the (B,) steps prove.

    A score is N − 1 − place, averaged over a run of neighbours that nothing separates. A response that differs from any
    in the run begins the next run. wins: (B, N, N). strength: (B, N).
    """
    batch, n = order.shape
    row = np.arange(batch)
    whole = weights.whole[row[:, None, None], order[:, :, None], order[:, None, :]]
    level = np.take_along_axis(strength, order, axis=1)
    separated = (whole != 0) | (level[:, :, None] != level[:, None, :])  # (B, N, N) by place
    first = np.zeros((batch, n), dtype=np.int64)  # where the run of each place begins
    for p in range(1, n):
        in_run = np.arange(p) >= first[:, p - 1, None]
        first[:, p] = np.where((separated[:, :p, p] & in_run).any(axis=1), p, first[:, p - 1])
    following = np.where(first == np.arange(n), np.arange(n), n)[:, 1:]  # where later runs begin
    following = np.concatenate([following, np.full((batch, 1), n)], axis=1)
    last = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1] - 1
    scores = np.empty((batch, n))
    np.put_along_axis(scores, order, n - 1 - (first + last) / 2, axis=1)
    unavoidable = np.minimum(wins, wins.swapaxes(1, 2)).sum(axis=(1, 2)) / 2
    return Orders(scores, np.maximum(steps * weights.step - weights.slack, 0.0) + unavoidable)


def feedback_arc_set(config: DenoiseConfig) -> FeedbackArcSet:
    """Return the ranker with the hyperparameters of the config."""
    own, factor = config.feedback_arc_set, config.effort_factor
    return FeedbackArcSet(
        max_states=max(1, int(own.max_states * factor)),
        max_nodes=max(1, int(own.max_nodes * factor)),
        max_steps=own.max_steps * factor,
        max_total_steps=own.max_total_steps * factor,
        prove=own.prove,
        solver=own.solver,
        ridge=config.bradley_terry.ridge,
    )


RANKER = RankerSpec("feedback-arc-set", build=feedback_arc_set, relative_cost=20.0, has_bound=True, pools_prompts=False)

"""From scores to a Ranking: the cost of the order is counted here, the same way for every ranker."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float, Ranking, order_cost
from curate.votes.arrays import VoteArrays

TIE_DECIMALS = 9
"""Scores that agree to this many decimals are a tie, wherever ranks or costs are taken from them."""


def ranking_of(
    votes: VoteArrays,
    scores: Float,
    *,
    solved: npt.NDArray[np.bool_] | None = None,
    iterations: npt.NDArray[np.int64] | None = None,
    bound: Float | None = None,
) -> Ranking:
    """The ranking of (R,) scores, with the (P,) cost of its order.

    What is left out says: solved, in closed form, without a bound.
    """
    prompts = len(votes.prompts)
    cost = np.zeros(prompts)
    for graphs in votes.graphs:
        cost[graphs.prompts] = order_cost(graphs.wins, np.round(scores, TIE_DECIMALS)[graphs.slots])
    return Ranking(
        scores=scores,
        solved=np.ones(prompts, dtype=np.bool_) if solved is None else solved,
        iterations=np.zeros(prompts, dtype=np.int64) if iterations is None else iterations,
        cost=cost,
        bound=np.full(prompts, np.nan) if bound is None else bound,
    )

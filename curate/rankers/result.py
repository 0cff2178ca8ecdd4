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
    converged: npt.NDArray[np.bool_] | None = None,
    n_iter: npt.NDArray[np.int64] | None = None,
    bound: Float | None = None,
) -> Ranking:
    """The ranking of (R,) scores, with the (P,) cost of its order.

    What is left out says: converged, in closed form, without a bound.
    """
    prompts = len(votes.prompts)
    cost = np.zeros(prompts)
    for graphs in votes.graphs:
        cost[graphs.prompts] = order_cost(graphs.wins, np.round(scores, TIE_DECIMALS)[graphs.slots])
    return Ranking(
        scores=scores,
        converged=np.ones(prompts, dtype=np.bool_) if converged is None else converged,
        n_iter=np.zeros(prompts, dtype=np.int64) if n_iter is None else n_iter,
        cost=cost,
        bound=np.full(prompts, np.nan) if bound is None else bound,
    )

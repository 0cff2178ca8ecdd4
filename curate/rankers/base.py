"""What a ranker is, what it returns, and how the cost of an order is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.votes.arrays import VoteArrays

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """One ranker's answer for all prompts of a VoteArrays."""

    scores: Float
    """(R,) higher is better; comparable within a prompt only. Equal scores are a tie."""
    converged: npt.NDArray[np.bool_]
    """(P,) the method reached its tolerance (exact methods: cost − bound within tolerance)."""
    n_iter: npt.NDArray[np.int64]
    """(P,) iterations used; 0 for a closed form."""
    cost: Float
    """(P,) vote weight that goes against the order; a pair ranked equal pays half its weight."""
    bound: Float
    """(P,) proved lower bound on the cost of any order; NaN where the method proves none."""


class Ranker(Protocol):
    """A frozen dataclass of hyperparameters; calling it ranks every prompt of the votes."""

    def __call__(self, votes: VoteArrays, /) -> Ranking: ...


@compiled
def order_cost(wins: Float, scores: Float) -> Float:
    """(B,) vote weight against the order of scores. wins: (B, N, N), scores: (B, N), higher is better."""
    cost = np.zeros(len(wins))
    for b in range(len(wins)):
        for i in range(wins.shape[1]):
            for j in range(wins.shape[1]):
                if scores[b, i] < scores[b, j]:
                    cost[b] += wins[b, i, j]
                elif scores[b, i] == scores[b, j]:
                    cost[b] += wins[b, i, j] / 2
    return cost

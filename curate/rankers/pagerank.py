"""PageRank of all prompts at once: the stationary distribution of a random walk from losers to winners.

From response j the walk goes to i with probability proportional to the weight of votes that prefer i to j; from a
response that never lost it goes to any response; with probability 1 − damping it restarts (Page, Brin, Motwani and
Winograd, 1999). The stationary distribution r solves one linear system per prompt,

    (I − damping · M) r = (1 − damping) / N   with   M[:, j] = W[:, j] / Σ_i W[i, j], or 1/N if j never lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.array_types import Float
from curate.rankers.base import RankerSpec, Ranking, ranking_of
from curate.votes.arrays import VoteArrays


@dataclass(frozen=True)
class PageRank:
    """Rank by the share of time that the walk spends on a response; the shares of a prompt sum to 1."""

    damping: float = 0.85
    """Probability of following a vote instead of restarting."""

    def __post_init__(self) -> None:
        if not 0 < self.damping < 1:
            raise ValueError(f"damping is {self.damping}; it must lie between 0 and 1")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.zeros(len(votes.responses))
        for graphs in votes.graphs:
            scores[graphs.slots] = stationary(graphs.wins, self.damping)
        return ranking_of(votes, scores)


def stationary(wins: Float, damping: float) -> Float:
    """Return the (B, N) stationary distribution. wins: (B, N, N) vote weight that prefers i to j."""
    n = wins.shape[1]
    lost = wins.sum(axis=1, keepdims=True)  # (B, 1, N)
    transition = np.where(lost > 0, wins / np.where(lost > 0, lost, 1), 1 / n)
    restart = np.full((len(wins), n, 1), (1 - damping) / n)
    probability: Float = np.linalg.solve(np.eye(n) - damping * transition, restart)[..., 0]
    return probability


RANKER = RankerSpec("pagerank", build=lambda config: PageRank(config.pagerank.damping), pools_prompts=False)

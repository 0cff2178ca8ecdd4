"""PageRank of all prompts at once: a random reader walks from losers to winners.

From response j the walk goes to i with chance proportional to the weight of votes that prefer i to j; a response that
never lost any sends it anywhere; with chance 1 − damping it starts afresh (Page, Brin, Motwani and Winograd, 1999).
With few responses a prompt the stationary chances are one linear system, solved directly: there is nothing to iterate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.rankers.base import Float, RankerSpec, Ranking, ranking_of
from curate.votes.arrays import VoteArrays


@dataclass(frozen=True)
class PageRank:
    """Ranks by the share of time that the walk spends on a response; shares of a prompt sum to 1."""

    damping: float = 0.85
    """Chance of following a vote rather than starting afresh."""

    def __post_init__(self) -> None:
        if not 0 < self.damping < 1:
            raise ValueError(f"damping is {self.damping}; it must lie between 0 and 1")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.zeros(len(votes.responses))
        for graphs in votes.graphs:
            scores[graphs.slots] = stationary(graphs.wins, self.damping)
        return ranking_of(votes, scores)


def stationary(wins: Float, damping: float) -> Float:
    """(B, N) the solution of r = damping · M r + (1 − damping) / N, which sums to 1 in each prompt.

    wins: (B, N, N) weight that prefers i to j. M's column j is wins' column j as shares, or 1/N where it is empty.
    """
    n = wins.shape[1]
    lost = wins.sum(axis=1, keepdims=True)  # (B, 1, N)
    walk = np.where(lost > 0, wins / np.where(lost > 0, lost, 1), 1 / n)
    start = np.full((len(wins), n, 1), (1 - damping) / n)
    chance: Float = np.linalg.solve(np.eye(n) - damping * walk, start)[..., 0]
    return chance


RANKER = RankerSpec("pagerank", build=lambda config: PageRank(config.pagerank.damping), pools_prompts=False)

"""PageRank on win rates, which the number of comparisons does not fool: a walk to winners, less a walk to losers.

PageRank on counts (``pagerank``) gives a response more the more often it was compared, whoever won. Here a pair counts
once, by its rate p = (wins + 1) / (votes + 2), and the walk goes on in continuous time: from j to i at rate p_ij, so
that a response with few opponents is not only reached seldom but left seldom as well. Where rates are those of
Bradley-Terry, p_ij = σ(θᵢ − θⱼ), the walk is in detailed balance, and its chances are exp(θᵢ) / Σ exp(θ), whichever
pairs were compared (Negahban, Oh and Shah, "Rank centrality", 2012, whose walk holds still in place of waiting). The
walk along the reversed arcs has exp(−θᵢ) / Σ exp(−θ): half the difference of logarithms is θ, and reversing all
votes reverses it.

As in PageRank the walk starts afresh now and then, anywhere, which keeps every chance above 0 and shrinks the score
of a response that few arcs tie to the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.rankers.base import Float, RankerSpec, Ranking, ranking_of
from curate.votes.arrays import VoteArrays

SMOOTHING = 1.0
"""Votes added to either side of a pair that has any (Laplace's rule), so that a single one is not certainty."""


@dataclass(frozen=True)
class RatePageRank:
    """Ranks by ½ log (chance to be where votes lead to / chance to be where they come from), about logits."""

    damping: float = 0.85
    """Chance of following a vote rather than starting afresh, for a response that is left at the mean rate."""

    def __post_init__(self) -> None:
        if not 0 < self.damping < 1:
            raise ValueError(f"damping is {self.damping}; it must lie between 0 and 1")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.zeros(len(votes.responses))
        for graphs in votes.graphs:
            rates = win_rates(graphs.wins)
            winners, losers = stationary(rates, self.damping), stationary(rates.swapaxes(1, 2), self.damping)
            scores[graphs.slots] = np.log(winners / losers) / 2
        return ranking_of(votes, scores)


def win_rates(wins: Float) -> Float:
    """(B, N, N) smoothed share of the pair's votes that prefer i to j; 0 where a pair has none. wins: (B, N, N)."""
    both = wins + wins.swapaxes(1, 2)
    rates: Float = np.where(both > 0, (wins + SMOOTHING) / (both + 2 * SMOOTHING), 0.0)
    return rates


def stationary(rates: Float, damping: float) -> Float:
    """(B, N) chances of a walk that goes from j to i at rates[b, i, j] (B, N, N); they sum to 1 in each prompt.

    It solves leaving · r − rates r = start · (1 / N − r): what flows out of a response flows in. start, the rate of
    starting afresh, is 1 − damping to damping of the prompt's mean rate of leaving.
    """
    batch, n, _ = rates.shape
    leaving = rates.sum(axis=1)  # (B, N)
    mean = leaving.mean(axis=1, keepdims=True)
    start = (1 - damping) / damping * np.where(mean > 0, mean, 1.0)  # (B, 1); no arcs: any rate, all stay equal
    flow = -rates
    flow[:, np.arange(n), np.arange(n)] += leaving + start
    chance: Float = np.linalg.solve(flow, np.broadcast_to(start / n, (batch, n))[..., None])[..., 0]
    return chance


RANKER = RankerSpec("rate-pagerank", build=lambda config: RatePageRank(config.pagerank.damping), pools_prompts=False)

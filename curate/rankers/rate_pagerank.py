"""PageRank on win rates, which does not depend on how often a pair was compared: a walk to winners and one to losers.

PageRank on counts (``pagerank``) favours responses that were compared often. Here a pair counts once, by its rate
p = (wins + 1) / (votes + 2), and the walk runs in continuous time: from j to i at rate p_ij, so that a response with
few opponents is rarely entered and rarely left. If the rates are those of Bradley-Terry, p_ij = σ(θᵢ − θⱼ), the walk
satisfies detailed balance, and its stationary distribution is exp(θᵢ) / Σ exp(θ) for any connected set of compared
pairs (compare Negahban, Oh and Shah, "Rank centrality", 2012, whose walk is in discrete time). The walk along the
reversed arcs has exp(−θᵢ) / Σ exp(−θ). Therefore half the difference of their logarithms is θ up to a constant, and
reversing all votes reverses it.

As in PageRank, the walk sometimes restarts at a random response. This keeps every probability above 0 and shrinks the
score of a response with few arcs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.array_types import Float
from curate.rankers.base import RankerSpec, Ranking, ranking_of
from curate.votes.arrays import VoteArrays

SMOOTHING = 1.0
"""Votes added to either side of a pair that has votes (Laplace's rule), so that one vote does not give rate 1."""


@dataclass(frozen=True)
class RatePageRank:
    """Rank by ½ log(probability in the walk to winners / probability in the walk to losers), approximately logits."""

    damping: float = 0.85
    """Probability of following a vote instead of restarting, for a response that is left at the mean rate."""

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
    """Return (B, N, N) the smoothed share of a pair's votes that prefer i to j; 0 for a pair without votes.

    wins: (B, N, N).
    """
    both = wins + wins.swapaxes(1, 2)
    rates: Float = np.where(both > 0, (wins + SMOOTHING) / (both + 2 * SMOOTHING), 0.0)
    return rates


def stationary(rates: Float, damping: float) -> Float:
    """Return the (B, N) stationary distribution of a walk that goes from j to i at rates[b, i, j], (B, N, N).

    It solves leaving · r − rates r = restart · (1 / N − r): the flow out of a response equals the flow in. The restart
    rate is (1 − damping) / damping times the prompt's mean rate of leaving.
    """
    batch, n, _ = rates.shape
    leaving = rates.sum(axis=1)  # (B, N)
    mean = leaving.mean(axis=1, keepdims=True)
    restart = (1 - damping) / damping * np.where(mean > 0, mean, 1.0)  # (B, 1); without arcs any rate gives equality
    flow = -rates
    flow[:, np.arange(n), np.arange(n)] += leaving + restart
    probability: Float = np.linalg.solve(flow, np.broadcast_to(restart / n, (batch, n))[..., None])[..., 0]
    return probability


RANKER = RankerSpec("rate-pagerank", build=lambda config: RatePageRank(config.pagerank.damping), pools_prompts=False)

"""Borda: the mean over the other responses of the share of votes that prefer this one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.rankers.base import RankerSpec, Ranking, ranking_of
from curate.votes.arrays import VoteArrays


@dataclass(frozen=True)
class Borda:
    """Rank by the expected share of a vote against a random other response, in [0, 1].

    All pairs have equal weight, unlike in the win rate; a pair without votes counts 1/2.
    """

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.full(len(votes.responses), 0.5)
        for graphs in votes.graphs:
            n = graphs.wins.shape[1]
            both = graphs.wins + graphs.wins.swapaxes(1, 2)
            share = np.where(both > 0, graphs.wins / np.where(both > 0, both, 1), 0.5)  # (B, N, N), diagonal 1/2
            if n > 1:
                scores[graphs.slots] = (share.sum(axis=2) - 0.5) / (n - 1)
        return ranking_of(votes, scores)


RANKER = RankerSpec("borda", build=lambda _: Borda(), pools_prompts=False)

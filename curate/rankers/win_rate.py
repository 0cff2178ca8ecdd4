"""Win rate: the share of its votes that a response won; a tie counts half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.rankers.base import RankerSpec, Ranking, ranking_of
from curate.votes.arrays import VoteArrays


@dataclass(frozen=True)
class WinRate:
    """Rank by the weighted share of votes won, in [0, 1]; a response without votes has 1/2."""

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.full(len(votes.responses), 0.5)
        for graphs in votes.graphs:
            won, lost = graphs.wins.sum(axis=2), graphs.wins.sum(axis=1)  # (B, N)
            voted = won + lost > 0
            scores[graphs.slots] = np.where(voted, won / np.where(voted, won + lost, 1), 0.5)
        return ranking_of(votes, scores)


RANKER = RankerSpec("win-rate", build=lambda _: WinRate(), pools_prompts=False)

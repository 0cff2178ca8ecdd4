"""Copeland's method as a third-party ranker: pairwise majorities won minus lost."""

from dataclasses import dataclass

import numpy as np

from curate.rankers import RankerSpec, Ranking, ranking_of
from curate.votes.arrays import VoteArrays


@dataclass(frozen=True)
class Copeland:
    """Ranks by the number of majorities won, minus those lost (Copeland, 1951)."""

    tie: float = 0.0
    """Score of a tied pair for both of its responses."""

    def __post_init__(self) -> None:
        if not -1 <= self.tie <= 1:
            raise ValueError(f"tie is {self.tie}; it must lie between -1 and 1")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.zeros(len(votes.responses))
        for graphs in votes.graphs:
            margin = graphs.wins - graphs.wins.swapaxes(1, 2)  # (B, N, N)
            voted = graphs.wins + graphs.wins.swapaxes(1, 2) > 0
            scores[graphs.slots] = np.where(voted & (margin == 0), self.tie, np.sign(margin)).sum(axis=2)
        return ranking_of(votes, scores)


RANKER = RankerSpec(
    "copeland",
    build=lambda config: Copeland(**config.options.get("copeland", {})),
    relative_cost=0.5,
    pools_prompts=False,
)

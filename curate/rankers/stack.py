"""Stack: the order of a weighted sum of several rankers' log odds, the weights fitted to held-out votes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.rankers.base import Ranking, ranking_of
from curate.votes.arrays import VoteArrays
from schemas.rankers import MethodName


@dataclass(frozen=True)
class Stack:
    """Weights of rankers, as ``curate.denoising.selection`` fits them."""

    weights: dict[str, float]
    """At least 0 and not all 0, of each ranker's log odds."""
    slopes: dict[str, float]
    """Log odds by unit of the ranker's score."""

    @property
    def members(self) -> set[str]:
        """The rankers with a weight."""
        return {name for name, weight in self.weights.items() if weight > 0}

    def combine(self, votes: VoteArrays, rankings: Mapping[MethodName, Ranking]) -> Ranking:
        """The order of Σ weight · slope · score, logits. Solved where all rankings with a weight are."""
        used = sorted(self.members)
        scores = np.zeros(len(votes.responses))
        for name in used:
            scores += self.weights[name] * self.slopes[name] * rankings[name].scores
        return ranking_of(
            votes,
            scores,
            converged=np.logical_and.reduce([rankings[name].converged for name in used]),
            n_iter=np.maximum.reduce([rankings[name].n_iter for name in used]),
        )

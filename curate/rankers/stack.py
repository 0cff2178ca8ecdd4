"""Stack: the weighted sum of several rankers' log odds, with weights fitted to held-out votes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.rankers.base import Ranking, ranking_of
from curate.votes.arrays import VoteArrays
from schemas.rankers import MethodName


@dataclass(frozen=True)
class Stack:
    """Weights of rankers, fitted by ``curate.denoising.selection``."""

    weights: dict[str, float]
    """Weight of each ranker's log odds; at least 0 and not all 0."""
    slopes: dict[str, float]
    """Log odds per unit of the ranker's score."""

    @property
    def members(self) -> set[str]:
        """The rankers with a weight above 0."""
        return {name for name, weight in self.weights.items() if weight > 0}

    def combine(self, votes: VoteArrays, rankings: Mapping[MethodName, Ranking]) -> Ranking:
        """Return the ranking by Σ weight · slope · score, logits; converged where all members are."""
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

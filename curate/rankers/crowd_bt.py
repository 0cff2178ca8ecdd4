"""CrowdBT: Bradley-Terry whose annotators may each be right, random or contrary, over all prompts at once.

Annotator k prefers i to j with chance η_k σ(θᵢ − θⱼ) + (1 − η_k) σ(θⱼ − θᵢ) (Chen, Bennett, Collins-Thompson and
Horvitz, "Pairwise ranking aggregation in a crowdsourced setting", 2013). η is shared by all prompts. A vote either
follows the strengths or is cast against them; EM counts the part r of it that follows, then fits Bradley-Terry to r
votes one way and 1 − r the other, and η to the shares. In place of the paper's virtual node, which every response
plays, stands the normal prior of ``bradley_terry``: with η = 1 the two rankers are one.

A tie is half a vote to each side, and says nothing of the annotator. Anonymous votes have η = 1: without annotators
this is Bradley-Terry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float, RankerSpec, Ranking, ranking_of
from curate.rankers.bradley_terry import fit
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from curate.votes.graphs import GraphBatch, build_graphs

FOLLOWED, AGAINST = 4.0, 1.0
"""Votes that each annotator is held to have cast before, with the strengths and against them: a beta prior of η."""


@dataclass(frozen=True)
class CrowdFit:
    """Strengths and annotators at the posterior mode."""

    strength: Float
    """(R,) logits, mean 0 within a prompt."""
    follows: Float
    """(A,) η of each annotator, 0 … 1: 1 votes as Bradley-Terry, 1/2 blindly, 0 always the other way round."""
    n_iter: int
    converged: npt.NDArray[np.bool_]
    """(P,) annotators came to rest, and the prompt's strengths are exact for them."""


@dataclass(frozen=True)
class CrowdBT:
    """Ranks by posterior mode of strength in the CrowdBT model."""

    ridge: float = 0.1
    """Precision of the normal prior on strengths, 1 / logits²."""
    tolerance: float = 1e-4
    """Annotators are at rest when no η moves by more in a step of EM."""
    max_iterations: int = 500

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise ValueError(f"ridge is {self.ridge}; it must be above 0, or undefeated responses have no strength")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        found = self.fit(votes)
        n_iter = np.full(len(votes.prompts), found.n_iter)
        return ranking_of(votes, found.strength, converged=found.converged, n_iter=n_iter)

    def fit(self, votes: VoteArrays, /) -> CrowdFit:
        """Strengths and annotators by EM, from Bradley-Terry and annotators as the prior has them.

        Within EM, strengths take one Newton step a time (Lange, "A gradient algorithm locally equivalent to the EM
        algorithm", 1995); at its end they are solved.
        """
        from scipy.special import expit

        told = ((votes.outcome == LEFT) | (votes.outcome == RIGHT)) & (votes.annotator >= 0)
        who, weight, people = votes.annotator[told], (votes.weight * votes.group_share)[told], len(votes.annotators)
        side = np.where(votes.outcome[told] == LEFT, 1.0, -1.0)
        cast = np.bincount(who, weight, people) + FOLLOWED + AGAINST
        follows = np.full(people, FOLLOWED / (FOLLOWED + AGAINST))
        share = np.array([1.0, 0.0, 0.5, 0.5])[votes.outcome]  # (V,) of each vote that goes to left
        strength, converged = self._solve(votes, share)
        spent, rested = 0, not told.any()
        while not rested and spent < self.max_iterations:
            spent += 1
            gap = strength[votes.left[told]] - strength[votes.right[told]]
            part = expit(np.log(follows / (1 - follows))[who] + side * gap)
            before, follows = follows, (np.bincount(who, weight * part, people) + FOLLOWED) / cast
            share[told] = np.where(side > 0, part, 1 - part)
            strength = self._step(votes, share, strength)
            rested = bool(np.abs(follows - before).max() <= self.tolerance)
        if spent:
            strength, converged = self._solve(votes, share)
        return CrowdFit(strength, follows, spent, converged & rested)

    def _solve(self, votes: VoteArrays, share: Float) -> tuple[Float, npt.NDArray[np.bool_]]:
        """(R,) Bradley-Terry strengths, and (P,) whether they are exact. share: (V,) of each vote that goes to left."""
        strength, converged = np.zeros(len(votes.responses)), np.ones(len(votes.prompts), dtype=np.bool_)
        for graphs in _graphs(votes, share):
            found = fit(graphs.wins, self.ridge)
            strength[graphs.slots], converged[graphs.prompts] = found.strength, found.converged
        return strength, converged

    def _step(self, votes: VoteArrays, share: Float, strength: Float) -> Float:
        """(R,) strengths after one Newton step towards those of ``_solve``."""
        moved = strength.copy()
        for graphs in _graphs(votes, share):
            found = fit(graphs.wins, self.ridge, max_iterations=1, start=strength[graphs.slots])
            moved[graphs.slots] = found.strength
        return moved


def _graphs(votes: VoteArrays, share: Float) -> tuple[GraphBatch, ...]:
    """The preference graphs where share (V,) of each vote goes to left, whatever its outcome."""
    return build_graphs(
        left=votes.left, right=votes.right, share_left=share, weight=votes.weight, offsets=votes.offsets
    )


RANKER = RankerSpec(
    "crowd-bt",
    build=lambda config: CrowdBT(config.bradley_terry.ridge),
    relative_cost=50.0,
    needs_annotators=True,
    without_annotators="bradley-terry",
    held_out=False,  # it costs more than all others together, and the hierarchical ranker covers what it models
)

"""CrowdBT: Bradley-Terry with a quality for each annotator, over all prompts at once.

Annotator k prefers i to j with probability η_k σ(θᵢ − θⱼ) + (1 − η_k) σ(θⱼ − θᵢ) (Chen, Bennett, Collins-Thompson and
Horvitz, "Pairwise ranking aggregation in a crowdsourced setting", 2013). η is shared by all prompts. EM:

    E-step  r_v = P(vote v agrees with the strengths | θ, η)
    M-step  η_k = the mean of r over the votes of k and its prior votes; θ by Bradley-Terry on r votes for the chosen
            response and 1 − r for the other

The normal prior of ``bradley_terry`` replaces the paper's virtual node. A tie is half a vote for each side and does not
change η. Anonymous votes have η = 1: without annotators this is Bradley-Terry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.array_types import Bool, Float
from curate.rankers.base import RankerSpec, Ranking, ranking_of
from curate.rankers.bradley_terry import check_ridge, fit
from curate.votes.arrays import LEFT, RIGHT, SHARE_LEFT, VoteArrays
from curate.votes.graphs import GraphBatch, build_graphs

PRIOR_AGREE, PRIOR_DISAGREE = 4.0, 1.0
"""Prior votes of each annotator that agree and disagree with the strengths: a beta prior of η."""


@dataclass(frozen=True)
class CrowdFit:
    """Strengths and annotator qualities at the posterior mode."""

    strength: Float
    """(R,) logits, mean 0 within a prompt."""
    quality: Float
    """(A,) η of each annotator, 0 … 1: 1 votes as Bradley-Terry, 1/2 at random, 0 always contrary."""
    n_iter: int
    converged: Bool
    """(P,) the qualities have converged, and so have the prompt's strengths given them."""


@dataclass(frozen=True)
class CrowdBT:
    """Rank by the posterior mode of strength in the CrowdBT model."""

    ridge: float = 0.1
    """Precision of the normal prior on strengths, 1 / logits²."""
    tolerance: float = 1e-4
    """EM has converged if no η changes by more in one iteration."""
    max_iterations: int = 500

    def __post_init__(self) -> None:
        check_ridge(self.ridge)

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        found = self.fit(votes)
        n_iter = np.full(len(votes.prompts), found.n_iter)
        return ranking_of(votes, found.strength, converged=found.converged, n_iter=n_iter)

    def fit(self, votes: VoteArrays, /) -> CrowdFit:
        """Return strengths and qualities by EM, starting from Bradley-Terry and the prior qualities.

        Within EM, the M-step for strengths is one Newton step (Lange, "A gradient algorithm locally equivalent to the
        EM algorithm", 1995); at its end they are solved exactly.
        """
        from scipy.special import expit, logit

        informative = ((votes.outcome == LEFT) | (votes.outcome == RIGHT)) & (votes.annotator >= 0)
        left, right, annotator = votes.left[informative], votes.right[informative], votes.annotator[informative]
        weight = (votes.weight * votes.group_share)[informative]
        sign = np.where(votes.outcome[informative] == LEFT, 1.0, -1.0)
        count = len(votes.annotators)
        total = np.bincount(annotator, weight, count) + PRIOR_AGREE + PRIOR_DISAGREE
        quality = np.full(count, PRIOR_AGREE / (PRIOR_AGREE + PRIOR_DISAGREE))
        share = SHARE_LEFT[votes.outcome]  # (V,) of each vote that counts for left
        strength, exact = self._solve(votes, share)
        n_iter, converged = 0, not informative.any()
        while not converged and n_iter < self.max_iterations:
            n_iter += 1
            agrees = expit(logit(quality)[annotator] + sign * (strength[left] - strength[right]))
            before, quality = quality, (np.bincount(annotator, weight * agrees, count) + PRIOR_AGREE) / total
            share[informative] = np.where(sign > 0, agrees, 1 - agrees)
            strength = self._newton_step(votes, share, strength)
            converged = bool(np.abs(quality - before).max() <= self.tolerance)
        if n_iter:
            strength, exact = self._solve(votes, share)
        return CrowdFit(strength, quality, n_iter, exact & converged)

    def _solve(self, votes: VoteArrays, share: Float) -> tuple[Float, Bool]:
        """Return (R,) Bradley-Terry strengths and (P,) whether they converged. share: (V,) that counts for left."""
        strength, converged = np.zeros(len(votes.responses)), np.ones(len(votes.prompts), dtype=np.bool_)
        for graphs in _graphs(votes, share):
            found = fit(graphs.wins, self.ridge)
            strength[graphs.slots], converged[graphs.prompts] = found.strength, found.converged
        return strength, converged

    def _newton_step(self, votes: VoteArrays, share: Float, strength: Float) -> Float:
        """Return (R,) strengths after one Newton step towards those of ``_solve``."""
        moved = strength.copy()
        for graphs in _graphs(votes, share):
            found = fit(graphs.wins, self.ridge, max_iterations=1, start=strength[graphs.slots])
            moved[graphs.slots] = found.strength
        return moved


def _graphs(votes: VoteArrays, share: Float) -> tuple[GraphBatch, ...]:
    """Return the preference graphs if share (V,) of each vote counts for left, whatever its outcome."""
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

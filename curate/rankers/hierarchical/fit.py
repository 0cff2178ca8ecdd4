"""The result of a fit of the hierarchical ranker, and its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from curate.array_types import Bool, Float, Index
from curate.rankers.base import Ranking, ranking_of
from curate.rankers.hierarchical.annotators import Annotators
from curate.rankers.hierarchical.mixture import Mixture
from curate.rankers.hierarchical.model import BIAS, DISCRIMINATION, TIE, log_probability, quadrature
from curate.rankers.hierarchical.perception import VoteSites
from curate.rankers.hierarchical.priors import IDENTIFIED, Normal, StrengthPrior
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import vote_data

PREDICTION_NODES = 5  # quadrature nodes over the posterior of a gap, of a discrimination and of a side bias


@dataclass(frozen=True)
class HierarchicalFit:
    """The posterior of everything that the votes depend on."""

    strength: Float  # (R,) posterior mean, logits of an annotator of discrimination 1; higher is better; without the
    # effects of the votes' covariates, where they have any
    covariance: tuple[Float, ...]  # (B, N, N) posterior covariance of each batch of ``votes.graphs``, logits²
    strength_se: Float  # (R,) posterior standard deviation, logits
    model_mean: Float  # (M,) posterior mean of each model's mean strength under the normal prior, logits
    effect: Normal  # (K,) mean and (K, K) covariance of the effects of covariates, logits per unit
    means: Normal  # (M + 1 + K,) of models, unknown models (0) and effects in units of VoteData.covariates
    prior: StrengthPrior
    other_priors: tuple[StrengthPrior, ...]  # to each side, if the posterior is an average over the ratio of variances
    error_ratio_se: float  # standard error of log(error_variance / variance); 0 without errors, inf if not estimated
    mixture: Mixture | None  # the prior in place of the normal one, where the votes strongly support it
    annotators: Annotators  # A + 1 rows, the last for all anonymous votes
    prompt_tie: Float  # (P,) what each prompt adds to all tie parameters (Davidson's log ν)
    sites: VoteSites
    n_iter: Index  # (P,) rounds and passes of expectation propagation until the prompt converged
    converged: Bool  # (P,) annotators and priors converged, and so did the prompt's strengths given these

    @property
    def error_identified(self) -> bool:
        """Whether the votes tell errors of perception from differences in strength."""
        return self.error_ratio_se <= IDENTIFIED

    @property
    def discrimination(self) -> Float:
        """(A,) at least 0; mean 1 over annotators with votes. Near 0: votes do not depend on the responses."""
        return self.annotators.discrimination[:-1]

    @property
    def left_bias(self) -> Float:
        """(A,) advantage of the response shown left, logits."""
        return self.annotators.left_bias[:-1]

    @property
    def tie_share(self) -> Float:
        """(A,) probability of a tie between equal responses on an average prompt."""
        return self.annotators.tie_share[:-1]

    @property
    def normal(self) -> Normal:
        """The posterior of the strengths with a flat covariance."""
        return Normal(self.strength, np.concatenate([np.zeros(0), *(batch.ravel() for batch in self.covariance)]))

    def ranking(self, votes: VoteArrays, /) -> Ranking:
        """Return the ranking by strength. votes: those of the fit."""
        return ranking_of(votes, self.strength, converged=self.converged, n_iter=self.n_iter)

    def log_odds(self, votes: VoteArrays, /) -> Float:
        """Return the (V,) log odds of left, given a decisive outcome. votes: on the responses of the fit.

        Probabilities are averaged over the posterior of the gap, and over discrimination and side bias of the
        annotator: over their posterior where the annotator has votes in the fit, else over the prior, because the prior
        mean alone would be overconfident. Side bias enters where sides are known.
        """
        data, people, normal = vote_data(votes), self.annotators, self.normal
        gap_se = np.sqrt(data.gap_variance(normal.covariance) + 2 * self.prior.error_variance)
        style = votes.covariates @ self.effect.mean if votes.covariates is not None else np.zeros(len(normal.mean))
        gap = (normal.mean + style)[data.left] - (normal.mean + style)[data.right]
        seen = (people.votes > 0)[data.annotator, None]
        mean = np.where(seen, people.value[data.annotator], people.prior_mean)
        se = np.sqrt(np.where(seen, people.variance[data.annotator], people.prior_variance))
        tie, left, right = mean[:, TIE] + self.prompt_tie[data.prompt], np.zeros(len(gap)), np.zeros(len(gap))
        nodes = list(zip(*quadrature(PREDICTION_NODES), strict=True))
        biases = nodes if data.sides_known.any() else [(0.0, 1.0)]
        gaps = prediction_nodes(float((mean[:, DISCRIMINATION] * gap_se).max(initial=0.0)))
        for (a, weight_a), (b, weight_b), (g, weight_g) in product(nodes, biases, gaps):
            discrimination = np.maximum(mean[:, DISCRIMINATION] + a * se[:, DISCRIMINATION], 0)
            d = discrimination * (gap + g * gap_se) + (mean[:, BIAS] + b * se[:, BIAS]) * data.sides_known
            left += weight_a * weight_b * weight_g * np.exp(log_probability(d, tie, 1.0))
            right += weight_a * weight_b * weight_g * np.exp(log_probability(d, tie, -1.0))
        return np.asarray(np.log(np.maximum(left, 1e-300)) - np.log(np.maximum(right, 1e-300)))


def prediction_nodes(deviation: float) -> list[tuple[float, float]]:
    """Points and weights over a standard normal for an advantage with this standard deviation, logits.

    Beyond 2 logits the probability of an outcome is nearly a step at Gauss-Hermite nodes: equidistant ones then.
    """
    if deviation <= 2.0:
        return list(zip(*quadrature(PREDICTION_NODES), strict=True))
    points = np.linspace(-4.0, 4.0, min(61, 2 * int(2 * deviation) + 1))
    weights = np.exp(-(points**2) / 2)
    return list(zip(points.tolist(), (weights / weights.sum()).tolist(), strict=True))

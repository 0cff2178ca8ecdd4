"""The annotators: what they have cast, their parameters and the prior of these, and the steps that fit both.

(discrimination, left bias, tie)[a] ~ N(prior_mean, diag(prior_variance)), discrimination ≥ 0 with mean 1
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from curate.array_types import Float
from curate.rankers.hierarchical.model import BIAS, DISCRIMINATION, LEAST_TIE, TIE, log_probability
from curate.rankers.hierarchical.priors import Hyperprior, variance_step
from curate.votes.blocks import VoteData, sums

ANNOTATOR_VARIANCE = (Hyperprior(0.25, 2.0), Hyperprior(0.05, 2.0), Hyperprior(0.25, 2.0))  # weak: there are few
MEAN_PRECISION = 1.0  # of the normal hyperprior of mean bias and mean tie parameter around their first values


@dataclass(frozen=True)
class Annotators:
    """The parameters of A annotators with their posterior and prior; a last row stands for all anonymous votes."""

    value: Float  # (A + 1, 3) discrimination (≥ 0, mean 1 over those with votes), left bias (logits), tie parameter
    variance: Float  # (A + 1, 3) posterior variances (Laplace's approximation)
    prior_mean: Float  # (3,)
    prior_variance: Float  # (3,)
    first: Float  # (3,) the prior mean at the start
    votes: Float  # (A + 1,) weight of their votes
    sided: Float  # (A + 1,) weight of their votes on known sides
    has_ties: bool  # without a tie, the tie parameters are fixed where ties have probability 0

    @property
    def discrimination(self) -> Float:
        """(A + 1,)"""
        return self.value[:, DISCRIMINATION]

    @property
    def left_bias(self) -> Float:
        """(A + 1,) logits."""
        return self.value[:, BIAS]

    @property
    def tie(self) -> Float:
        """(A + 1,) tie parameter on an average prompt."""
        return self.value[:, TIE]

    @property
    def tie_share(self) -> Float:
        """(A + 1,) probability of a tie between equal responses on an average prompt."""
        return np.exp(log_probability(self.left_bias, self.tie, 0.0))

    def newton_step(self, gradient: Float, hessian: Float) -> Annotators:
        """The parameters after one Newton step on their expected log-posterior, under the constraint of mean 1.

        gradient, hessian: (A + 1, 3) and (A + 1, 3, 3) of the votes' expected log-likelihood.

        The multiplier of the constraint leaves it to the prior variances how far strengths lie apart. Annotators at
        discrimination 0 stay there unless their gradient exceeds the multiplier.
        """
        gradient = gradient - (self.value - self.prior_mean) / self.prior_variance
        precision = np.diag(1 / self.prior_variance) - hessian
        used, held = self.votes > 0, self.discrimination <= 0
        for _ in range(2):
            free = np.stack([~held, np.ones_like(held), np.full_like(held, self.has_ties)], axis=1)  # (A + 1, 3)
            covariance = np.linalg.inv(np.where(free[:, :, None] & free[:, None, :], precision, np.eye(3) * precision))
            step, moved = np.einsum("aij,aj->ai", covariance, np.where(free, gradient, 0.0)), used & ~held
            response = covariance[moved, :, DISCRIMINATION]  # change of the steps per unit of the multiplier
            multiplier = step[moved, DISCRIMINATION].sum() / max(float(response[:, DISCRIMINATION].sum()), 1e-300)
            step[moved] -= multiplier * response
            held = held & (gradient[:, DISCRIMINATION] <= multiplier)
        value = self.value + step / np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True))  # a unit at most
        return replace(self, value=value, variance=np.diagonal(covariance, axis1=1, axis2=2).copy()).normalised()

    def normalised(self) -> Annotators:
        """The same with discriminations of at least 0 and mean 1 over those with votes."""
        value, used = self.value.copy(), self.votes > 0
        value[:, DISCRIMINATION] = np.maximum(value[:, DISCRIMINATION], 0.0)
        value[:, DISCRIMINATION] /= value[used, DISCRIMINATION].mean() if used.any() else 1.0
        return replace(self, value=value)

    def m_step(self, step_size: float) -> Annotators:
        """The prior's means and variances after one step of Fisher scoring."""
        informed = np.stack([self.votes > 0, self.sided > 0, (self.votes > 0) & self.has_ties])  # (3, A + 1)
        mean, variance = self.prior_mean.copy(), self.prior_variance.copy()
        for k, hyperprior in enumerate(ANNOTATOR_VARIANCE):
            value, left = self.value[informed[k], k], np.minimum(self.variance[informed[k], k], variance[k])
            learned = 1 - left / variance[k]  # share of the posterior's precision that comes from the votes
            if k in (BIAS, TIE) and len(value):
                score = (value - mean[k]).sum() / variance[k] - MEAN_PRECISION * (mean[k] - self.first[k])
                mean[k] += step_size * np.clip(score / (learned.sum() / variance[k] + MEAN_PRECISION), -1, 1)
            second, information = float(((value - mean[k]) ** 2 + left).sum()), float((learned**2).sum())
            variance[k] = variance_step(variance[k], second, len(value), information, hyperprior, step_size)
        return replace(self, prior_mean=mean, prior_variance=variance)


class Cast(NamedTuple):
    """What annotators have cast."""

    votes: Float  # (A + 1,) weight
    sided: Float  # (A + 1,) weight on known sides
    tied: float  # weight of all ties


def cast_votes(data: VoteData) -> Cast:
    """The weights of the votes."""
    return Cast(
        votes=sums(data.annotator, data.weight, data.annotators),
        sided=sums(data.annotator, data.weight * data.sides_known, data.annotators),
        tied=float(data.weight[data.side == 0].sum()),
    )


def first_annotators(cast: Cast) -> Annotators:
    """All annotators alike: discrimination 1, no bias, and the observed share of ties (a little more on equals)."""
    share = min(0.9, 1.2 * cast.tied / max(float(cast.votes.sum()), 1e-300))
    tie = float(np.log(2 * share / (1 - share))) if cast.tied else LEAST_TIE
    mean, variance = np.array([1.0, 0.0, tie]), np.array([prior.typical for prior in ANNOTATOR_VARIANCE])
    value, left = (np.tile(row, (len(cast.votes), 1)) for row in (mean, variance))
    return Annotators(value, left, mean, variance, mean, cast.votes, cast.sided, cast.tied > 0)

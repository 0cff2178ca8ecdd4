"""The prior that prompts share: its parts, and its variances.

θ[prompt, i] = μ[model of i] + δ[prompt, i], μ ~ N(0, mean_variance), δ of a prompt ~ N(0, scale² C[its models]). A
response of no known model is as one of a model of its own: variance mean_variance + scale² · variance, no correlation.
The variances are fitted by scoring on the marginal likelihood, from the posterior's second moments E[δδᵀ]; what else
the prior may hold is structure's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from curate.rankers.hierarchical.annotators import scored
from curate.rankers.hierarchical.columns import Columns, Float
from curate.rankers.hierarchical.matrices import Shape

LIKELY_VARIANCE = 1.0
"""Variances of strength, logits², that the lognormal hyperpriors hold to be likely, …"""
WEIGHT_OF_LIKELY = 1.0
"""… as if so many responses (models) had been seen with them."""


@dataclass(frozen=True)
class Prior:
    """The hyperparameters of M models and P prompts."""

    mean_variance: float
    """Of the models' mean strengths around 0, logits²."""
    variance: float
    """Mean of C's diagonal, logits²; also that of responses of no known model."""
    covariance: Float
    """(M, M) C, between the models' strengths on a prompt around their means, at scale 1."""
    shrinkage: float
    """How hard C is drawn to one variance and no correlation; 1 = models do not move together (structure)."""
    log_scale: Float
    """(P,) log scale of each prompt; 0 = as the others."""
    scale_variance: float
    """Variance of log_scale; 0 = all prompts alike."""

    def shape(self, columns: Columns) -> Shape:
        """The prior of the strengths around their models' means, as kernels read it."""
        independent = self.shrinkage == 1 or not len(self.covariance)
        return Shape(
            covariance=self.covariance,
            least=0.0 if independent else float(np.linalg.eigvalsh(self.covariance)[0]),
            independent=independent,
            variance=self.variance,
            mean_variance=self.mean_variance,
            scale=np.exp(2 * self.log_scale),
            part=self.own_part(columns),
        )

    def own_part(self, columns: Columns) -> Float:
        """(R,) of a response's prior variance, the part that is its own: 1, less where its model is not known."""
        own = self.variance * np.exp(2 * self.log_scale[columns.prompt])
        part: Float = np.where(columns.model == columns.models, own / (own + self.mean_variance), 1.0)
        return part


class Moments(NamedTuple):
    """What the posterior says of the responses' δ, with Q the prior precision and S the posterior covariance."""

    fit: Float
    """(R,) diagonal of Q E[δδᵀ]: 1 where the posterior is as the prior says."""
    learned: Float
    """(R,) diagonal of L = I − S Q, S given the means: 0 where the votes say nothing."""
    known: Float
    """(P,) Σ Lᵢⱼ Lⱼᵢ over a prompt's pairs, times the parts of their variance that scale."""
    score: Float
    """(M, M) Σ of scale² (Q E[δδᵀ] Q − Q) over prompts: twice the score of C."""
    squares: Float
    """(M, M) its prompts' squares summed."""


def first_prior(columns: Columns) -> Prior:
    return Prior(
        mean_variance=LIKELY_VARIANCE if columns.models else 0.0,
        variance=LIKELY_VARIANCE,
        covariance=LIKELY_VARIANCE * np.eye(columns.models),
        shrinkage=1.0,
        log_scale=np.zeros(columns.prompts),
        scale_variance=0.0,
    )


def improve_variances(
    old: Prior, columns: Columns, moments: Moments, means: Float, means_covariance: Float, pace: float
) -> Prior:
    """The prior after one step of scoring in its two variances; C grows or shrinks as a whole.

    means: (M,) of the models. means_covariance: (M, M). pace: the part of the step to take.
    """
    part, unknown, fit = old.own_part(columns), columns.model == columns.models, moments.fit
    squares = old.variance * float((1 + part * (fit - 1)).sum())  # of the response's own part of strength, over scale
    count, known = float(columns.responses), float(moments.known.sum())
    squares_mean, count_mean, known_mean = _of_means(old, means, means_covariance)
    squares_mean += old.mean_variance * float((1 + (1 - part) * (fit - 1))[unknown].sum())
    count_mean += float(unknown.sum())
    known_mean += float((((1 - part) * moments.learned)[unknown] ** 2).sum())
    variance = scored(old.variance, squares, count, known, LIKELY_VARIANCE, WEIGHT_OF_LIKELY, pace)
    mean_variance = old.mean_variance
    if columns.models:
        mean_variance = scored(
            mean_variance, squares_mean, count_mean, known_mean, LIKELY_VARIANCE, WEIGHT_OF_LIKELY, pace
        )
    return replace(
        old,
        variance=variance,
        mean_variance=mean_variance,
        covariance=old.covariance * (variance / old.variance),
    )


def _of_means(old: Prior, means: Float, covariance: Float) -> tuple[float, float, float]:
    """Σ E[μ²], how many, and twice the information in log mean_variance."""
    if not len(means):
        return 0.0, 0.0, 0.0
    learned = np.eye(len(means)) - covariance / old.mean_variance
    return float((means**2).sum() + np.trace(covariance)), float(len(means)), float((learned * learned.T).sum())

"""The prior that prompts share: its parts, and its variances.

θ[prompt, i] = μ[model of i] + δ[prompt, i], μ ~ N(0, mean_variance), δ of a prompt ~ N(0, scale² C[its models]). A
response of no known model is as one of a model of its own: variance mean_variance + scale² · variance, no correlation.
The variances are fitted by scoring on the marginal likelihood, from the posterior's second moments E[δδᵀ]; what else
the prior may hold is joint_structure's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from curate.rankers.joint_annotators import scored
from curate.rankers.joint_columns import Block, Columns, Float

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
    """How hard C is drawn to one variance and no correlation; 1 = models do not move together (joint_structure)."""
    log_scale: Float
    """(P,) log scale of each prompt; 0 = as the others."""
    scale_variance: float
    """Variance of log_scale; 0 = all prompts alike."""

    def of_block(self, block: Block) -> Float:
        """(B, N, N) prior covariance of the strengths around their models' means."""
        n = block.slots.shape[1]
        padded = np.pad(self.covariance, (0, 1))
        covariance = padded[block.model[:, :, None], block.model[:, None, :]]
        own, unknown = np.eye(n, dtype=np.bool_), block.model == len(self.covariance)
        same = (block.model[:, :, None] == block.model[:, None, :]) & ~own & ~unknown[:, :, None]
        if same.any():  # two responses of one model share what is not noise: all above C's least eigenvalue
            covariance -= np.where(same, np.linalg.eigvalsh(self.covariance)[0], 0.0)
        covariance[:, own] += np.where(unknown, self.variance, 0.0)
        covariance = covariance * np.exp(2 * self.log_scale[block.prompts])[:, None, None]
        covariance[:, own] += np.where(unknown, self.mean_variance, 0.0)
        return covariance

    def own_part(self, block: Block) -> Float:
        """(B, N) of a response's prior variance, the part that is its own: 1, less where its model is not known."""
        own = self.variance * np.exp(2 * self.log_scale[block.prompts])[:, None]
        part: Float = np.where(block.model == len(self.covariance), own / (own + self.mean_variance), 1.0)
        return part


class Moments(NamedTuple):
    """What the posterior says of one block's δ."""

    precision: Float
    """(B, N, N) of the prior."""
    second: Float
    """(B, N, N) E[δδᵀ]."""
    learned: Float
    """(B, N, N) I − posterior covariance · prior precision: 0 where the votes say nothing."""


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
    old: Prior, columns: Columns, moments: list[Moments], means: Float, means_covariance: Float, pace: float
) -> Prior:
    """The prior after one step of scoring in its two variances; C grows or shrinks as a whole.

    means: (M,) of the models. means_covariance: (M, M). pace: the part of the step to take.
    """
    squares = count = known = 0.0  # of e, the response's own part of strength, over scale
    squares_mean, count_mean, known_mean = _of_means(old, means, means_covariance)
    for block, seen in zip(columns.blocks, moments, strict=True):
        part, unknown = old.own_part(block), block.model == columns.models
        fit = np.einsum("bij,bji->bi", seen.precision, seen.second)  # 1 where the posterior is as the prior says
        learned = np.einsum("bij,bji,bi,bj->", seen.learned, seen.learned, part, part)
        squares += old.variance * (1 + part * (fit - 1)).sum()
        count, known = count + block.slots.size, known + learned
        squares_mean += old.mean_variance * (1 + (1 - part) * (fit - 1))[unknown].sum()
        count_mean += unknown.sum()
        known_mean += (((1 - part) * np.einsum("bii->bi", seen.learned))[unknown] ** 2).sum()
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

"""The joint posterior of all strengths and all model means, by damped Newton steps.

A normal approximation: its mean is where the expected log-posterior is flat, its precision that one's curvature there,
the expectation being over the gaps' own uncertainty (Opper and Archambeau, 2009, "The variational Gaussian
approximation revisited"). With one quadrature node this is Laplace's approximation at the mode; with three, the
hyperparameters fitted on it are biased less where votes are few.

The model means couple the prompts; eliminating each prompt's strengths leaves one (M, M) system for the means (the
Schur complement), so that a step is a whole Newton step and costs one (B, N, N) inverse a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.rankers.joint_annotators import DISCRIMINATION, Annotators
from curate.rankers.joint_columns import Block, Columns, Float, sums
from curate.rankers.joint_prior import Moments, Prior
from curate.rankers.joint_votes import TieModel, gap_slopes, log_chance

WIDEST = 2.0
"""Deviations of an advantage beyond this many logits are taken for it: three nodes farther apart than votes are wide
would each see votes of their own, and Newton's steps between them not come to rest."""
SAFE = 1.5
"""A Newton step that moves every vote's advantage by less, in logits, needs no line search."""


@dataclass(frozen=True)
class Posterior:
    """Strengths and model means after a step, and the covariances where it started."""

    strength: Float
    """(R,) logits."""
    means: Float
    """(M,) mean strength of each model, logits."""
    means_covariance: Float
    """(M, M)"""
    covariance: Float
    """Flat (B, N, N) blocks: covariance of the strengths, the uncertainty of the means included."""
    moments: list[Moments]
    """Of each block, of the strengths around their models' means."""
    error: Float
    """(P,) largest gradient entry of each prompt's strengths where the step started, as a part of the precision."""


class _Part(NamedTuple):
    """One block on the way through a step."""

    block: Block
    precision: Float
    """(B, N, N) of the prior."""
    inverse: Float
    """(B, N, N) covariance of the strengths given the means."""
    follow: Float
    """(B, N, N) how the strengths follow the means."""
    seen: Float
    """(B, N) the votes' pull, made linear around the strengths where the step starts."""
    error: Float
    """(B,)"""


@dataclass(frozen=True)
class Likelihood:
    """The votes, as the annotators are now thought to be, and how uncertain the gaps they saw are."""

    columns: Columns
    annotators: Annotators
    gap_variance: Float
    """(V,)"""
    ties: TieModel
    nodes: int

    def value(self, strength: Float) -> float:
        """Expected log-likelihood of strengths (R,)."""
        d, deviation, t = self._advantage(strength)
        side = self.columns.side
        return float(self.columns.weight @ log_chance(self.ties, d, deviation, t, side, self.nodes))

    def slopes(self, strength: Float) -> tuple[Float, Float]:
        """Of each vote (V,) the slope and (V,) the curvature (of minus it) in the gap."""
        d, deviation, t = self._advantage(strength)
        slope, curve = gap_slopes(self.ties, d, deviation, t, self.columns.side, self.nodes)
        rate = self._rate
        return self.columns.weight * rate * slope, -self.columns.weight * rate**2 * curve

    def moved(self, step: Float) -> float:
        """The most that a step in the strengths moves any vote's advantage, logits."""
        gap = np.abs(step[self.columns.left] - step[self.columns.right])
        return float((self._rate * gap).max(initial=0.0))

    @property
    def _rate(self) -> Float:
        rate: Float = self.annotators.value[self.columns.annotator, DISCRIMINATION]
        return rate

    def _advantage(self, strength: Float) -> tuple[Float, Float, Float]:
        """(V,) mean and (V,) deviation of each vote's advantage, and (V,) tie parameters."""
        columns = self.columns
        d, t = self.annotators.advantage(columns, strength[columns.left] - strength[columns.right])
        deviation = self._rate * np.sqrt(np.maximum(self.gap_variance, 0))
        return d, np.minimum(deviation, WIDEST), t


def newton_step(strength: Float, means: Float, prior: Prior, votes: Likelihood) -> Posterior:
    """One step from strength (R,) and means (M,), halved until the expected log-posterior does not fall."""
    columns = votes.columns
    slope, curve = votes.slopes(strength)
    pull, information = columns.per_response(slope), columns.per_cell(curve)
    parts = [_part(block, strength, means, pull, block.matrices(information), prior) for block in columns.blocks]
    new_means, means_covariance = _means(parts, prior, columns.models)

    padded, uncertain = np.append(new_means, 0.0), np.pad(means_covariance, (0, 1))  # model M, not known: certainly 0
    new_strength, covariance = np.empty_like(strength), np.empty_like(information)
    moments, error = [], np.zeros(columns.prompts)
    for block, precision, inverse, follow, seen, wrong in parts:
        mean = padded[block.model]
        theta = _times(inverse, seen) + _times(follow, mean)
        shared = uncertain[block.model[:, :, None], block.model[:, None, :]]
        learned, away = np.eye(theta.shape[1]) - follow, theta - mean
        second = inverse + learned @ shared @ learned.swapaxes(1, 2) + away[:, :, None] * away[:, None, :]
        block.matrices(covariance)[:] = inverse + follow @ shared @ follow.swapaxes(1, 2)
        new_strength[block.slots], error[block.prompts] = theta, wrong
        moments.append(Moments(precision, second, learned))

    step = _damping(strength, means, new_strength, new_means, parts, prior, votes)
    return Posterior(
        strength=strength + step * (new_strength - strength),
        means=means + step * (new_means - means),
        means_covariance=means_covariance,
        covariance=covariance,
        moments=moments,
        error=error,
    )


def _damping(
    strength: Float, means: Float, to: Float, to_means: Float, parts: list[_Part], prior: Prior, votes: Likelihood
) -> float:
    """The part of the step to take: 1, halved until the expected log-posterior does not fall.

    It cannot fall, and is not looked at, where the step moves no advantage by more than SAFE: a vote's third derivative
    is at most its second, so that the gain is at least the step's decrement times 1 − (eʳ − r − 1) / r² at r = SAFE
    (Bach, "Self-concordant analysis for logistic regression", 2010, proposition 1).
    """
    if votes.moved(to - strength) <= SAFE:
        return 1.0
    start = votes.value(strength) + _log_prior(strength, means, parts, prior)
    step = 1.0
    for _ in range(30):
        theta, mu = strength + step * (to - strength), means + step * (to_means - means)
        if votes.value(theta) + _log_prior(theta, mu, parts, prior) >= start:
            break
        step /= 2
    return step


def _part(block: Block, strength: Float, means: Float, pull: Float, information: Float, prior: Prior) -> _Part:
    precision = _inverse(prior.of_block(block))
    inverse = _inverse(information + precision)
    theta = strength[block.slots]
    drawn = _times(precision, theta - np.append(means, 0.0)[block.model])
    largest = np.einsum("bii->bi", information + precision).max(axis=1)
    return _Part(
        block=block,
        precision=precision,
        inverse=inverse,
        follow=inverse @ precision,
        seen=pull[block.slots] + _times(information, theta),
        error=np.abs(pull[block.slots] - drawn).max(axis=1) / largest,
    )


def _means(parts: list[_Part], prior: Prior, models: int) -> tuple[Float, Float]:
    """(M,) model means after the step and (M, M) their covariance, the strengths integrated out."""
    system, target = np.zeros((models + 1) ** 2), np.zeros(models + 1)
    for part in parts:
        said = part.precision - part.precision @ part.follow
        system += sums(part.block.pair_of_models, said, (models + 1) ** 2)
        back = np.einsum("bji,bj->bi", part.follow, part.seen)
        target += sums(part.block.model, back, models + 1)
    known = system.reshape(models + 1, models + 1)[:-1, :-1]
    covariance = _inverse(known + np.eye(models) / prior.mean_variance if models else known)
    return covariance @ target[:-1], covariance


def _log_prior(strength: Float, means: Float, parts: list[_Part], prior: Prior) -> float:
    """Log-density of strengths and means, up to what does not depend on them."""
    total = float((means**2).sum()) / prior.mean_variance if len(means) else 0.0
    padded = np.append(means, 0.0)
    for part in parts:
        away = strength[part.block.slots] - padded[part.block.model]
        total += float((away * _times(part.precision, away)).sum())
    return -total / 2


def _times(matrix: Float, vector: Float) -> Float:
    """(B, N) products of (B, N, N) and (B, N)."""
    return (matrix @ vector[..., None])[..., 0]


def _inverse(matrix: Float) -> Float:
    return np.linalg.inv(matrix).astype(np.float64, copy=False)

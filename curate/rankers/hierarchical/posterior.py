"""The joint posterior of all strengths and all model means, by damped Newton steps.

A normal approximation: its mean is where the expected log-posterior is flat, its precision that one's curvature there,
the expectation being over the gaps' own uncertainty (Opper and Archambeau, 2009, "The variational Gaussian
approximation revisited"). With one quadrature node this is Laplace's approximation at the mode; with three, the
hyperparameters fitted on it are biased less where votes are few.

The model means couple the prompts; eliminating each prompt's strengths leaves one (M, M) system for the means (the
Schur complement), so that a step is a whole Newton step and costs one (N, N) inverse a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.rankers.hierarchical.annotators import Annotators
from curate.rankers.hierarchical.columns import Columns, Float
from curate.rankers.hierarchical.kernels import View, expected_log_likelihood, most_moved, strength_slopes
from curate.rankers.hierarchical.matrices import Shape, condition, log_prior, teach
from curate.rankers.hierarchical.prior import Moments, Prior
from curate.rankers.hierarchical.votes import TieModel

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
    """Flat (N, N) matrices: covariance of each prompt's strengths, the uncertainty of the means included."""
    moments: Moments
    """Of the strengths around their models' means."""
    error: Float
    """(P,) largest gradient entry of each prompt's strengths where the step started, as a part of the precision."""


@dataclass(frozen=True)
class Likelihood:
    """The votes, as the annotators are now thought to be, and how uncertain the gaps they saw are."""

    columns: Columns
    annotators: Annotators
    prompt_tie: Float
    """(P,) what each prompt adds to tie parameters."""
    covariance: Float
    """Flat, of the strengths."""
    ties: TieModel
    nodes: int

    @property
    def view(self) -> View:
        return self.annotators.view(self.prompt_tie, self.ties, self.nodes)

    def value(self, strength: Float) -> float:
        """Expected log-likelihood of strengths (R,)."""
        columns = self.columns
        return expected_log_likelihood(columns.places, columns.ballots, self.view, strength, self.covariance)

    def slopes(self, strength: Float) -> tuple[Float, Float]:
        """(R,) gradient and, flat, minus the second derivatives in the strengths (R,)."""
        columns = self.columns
        return strength_slopes(columns.places, columns.ballots, self.view, strength, self.covariance)

    def moved(self, step: Float) -> float:
        """The most that a step in the strengths moves any vote's advantage, logits."""
        return most_moved(self.columns.ballots, self.view, step)


def newton_step(strength: Float, means: Float, prior: Prior, votes: Likelihood) -> Posterior:
    """One step from strength (R,) and means (M,), halved until the expected log-posterior does not fall."""
    columns, shape = votes.columns, prior.shape(votes.columns)
    pull, matrices = votes.slopes(strength)
    own, system, target, error = condition(columns.places, shape, strength, np.append(means, 0.0), pull, matrices)
    means_precision = system[:-1, :-1] + np.eye(columns.models) / (prior.mean_variance or 1.0)
    means_covariance: Float = np.linalg.inv(means_precision).astype(np.float64, copy=False)
    to_means = means_covariance @ target[:-1]

    padded, uncertain = np.append(to_means, 0.0), np.pad(means_covariance, (0, 1))  # model M, not known: certainly 0
    to, fit, learned, known, score, squares = teach(columns.places, shape, own, padded, uncertain, matrices)

    step = _damping(strength, means, to, to_means, shape, prior, votes)
    return Posterior(
        strength=strength + step * (to - strength),
        means=means + step * (to_means - means),
        means_covariance=means_covariance,
        covariance=matrices,
        moments=Moments(fit, learned, known, score[:-1, :-1], squares[:-1, :-1]),
        error=error,
    )


def _damping(
    strength: Float, means: Float, to: Float, to_means: Float, shape: Shape, prior: Prior, votes: Likelihood
) -> float:
    """The part of the step to take: 1, halved until the expected log-posterior does not fall.

    It cannot fall, and is not looked at, where the step moves no advantage by more than SAFE: a vote's third derivative
    is at most its second, so that the gain is at least the step's decrement times 1 − (eʳ − r − 1) / r² at r = SAFE
    (Bach, "Self-concordant analysis for logistic regression", 2010, proposition 1).
    """
    if votes.moved(to - strength) <= SAFE:
        return 1.0

    def value(step: float) -> float:
        theta, mu = strength + step * (to - strength), means + step * (to_means - means)
        of_means = float((mu**2).sum()) / (2 * prior.mean_variance) if len(mu) else 0.0
        return votes.value(theta) + log_prior(votes.columns.places, shape, theta, np.append(mu, 0.0)) - of_means

    start, step = value(0.0), 1.0
    for _ in range(30):
        if value(step) >= start:
            break
        step /= 2
    return step

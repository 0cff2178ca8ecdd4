"""Annotators: discrimination, side bias and tie parameter of each, and the prior that they share.

Given normal posteriors of the gaps, the expected log-likelihood of one annotator's votes (by Gauss-Hermite quadrature)
is concave in the three numbers: one Newton step for all annotators at once is one pass over the votes and a (A, 3, 3)
solve. The prior's means and variances take a step of Fisher scoring on their marginal likelihood (Laplace).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from curate.rankers.hierarchical.columns import Columns, Float, sums
from curate.rankers.hierarchical.kernels import View, annotator_slopes
from curate.rankers.hierarchical.votes import LEAST_TIE, TieModel, quadrature, tie_parameter

Bool = npt.NDArray[np.bool_]

DISCRIMINATION, BIAS, TIE = range(3)
WEAK = np.array([0.25, 0.05, 0.25])
"""Variances that the lognormal hyperpriors hold to be likely: of discrimination, bias and tie parameter."""
WEIGHT_OF_WEAK = 2.0
"""… as if so many annotators had been seen with them."""
MEAN_PRECISION = 1.0
"""Precision of the normal hyperprior on the mean bias (around 0) and mean tie parameter (around the first guess)."""


@dataclass(frozen=True)
class Annotators:
    """A + 1 annotators, the last standing for all anonymous votes."""

    value: Float
    """(A + 1, 3) discrimination (at least 0; mean 1 over those with votes), left bias (logits), tie parameter."""
    variance: Float
    """(A + 1, 3) of the posterior (Laplace)."""
    mean: Float
    """(3,) of the prior."""
    spread: Float
    """(3,) variances of the prior."""
    votes: Float
    """(A + 1,) weight of their votes."""
    sided: Float
    """(A + 1,) and of those on known sides."""
    guess: Float
    """(3,) discrimination 1, no bias, and a tie parameter as of the share of ties seen."""
    ties: bool
    """Whether there is any tie; without one the tie parameter stays where ties never happen."""

    def view(self, prompt_tie: Float, model: TieModel, nodes: int) -> View:
        """How they see gaps, as kernels read it.

        prompt_tie: (P,) added to tie parameters. nodes: of the quadrature over a gap's uncertainty.
        """
        points, shares = quadrature(nodes)
        return View(self.value, np.exp(self.value[:, TIE]), np.exp(prompt_tie), model == "rao-kupper", points, shares)


def first_guess(columns: Columns, model: TieModel) -> Annotators:
    """Everyone alike: discrimination 1, no bias, ties as often as seen (a little more on equals)."""
    count = columns.annotators
    ballots = columns.ballots
    votes = sums(ballots.annotator, ballots.weight, count)
    tied = float(ballots.weight[ballots.side == 0].sum())
    tie = tie_parameter(model, min(0.9, 1.2 * tied / float(votes.sum()))) if tied else LEAST_TIE[model]
    mean = np.array([1.0, 0.0, tie])
    spread = WEAK.copy()
    return Annotators(
        value=np.tile(mean, (count, 1)),
        variance=np.tile(spread, (count, 1)),
        mean=mean,
        guess=mean,
        spread=spread,
        votes=votes,
        sided=sums(ballots.annotator, ballots.weight * ballots.seen, count),
        ties=tied > 0,
    )


def improve(
    old: Annotators, columns: Columns, view: View, strength: Float, covariance: Float
) -> tuple[Annotators, Float]:
    """The annotators after one Newton step, with the prior before its own; and (P, 2) slope and curvature of the
    expected log-likelihood in each prompt's tie. view: theirs. strength: (R,), covariance: flat.

    The step leaves the mean discrimination of those with votes where it is, at 1, by Lagrange's multiplier: how far
    apart strengths are is then for their prior's variances to say.
    """
    gradient, curvature, of_prompt = _sums(columns, view, strength, covariance)
    gradient = gradient - (old.value - old.mean) / old.spread
    curvature = curvature + np.diag(1 / old.spread)  # (A + 1, 3, 3) of minus the expected log-posterior
    used, held = old.votes > 0, old.value[:, DISCRIMINATION] <= 0
    for _ in range(2):  # who is at 0 stays there, unless the multiplier lets go
        step, inverse, multiplier = _mean_kept(gradient, curvature, used, held, old.ties)
        held = held & (gradient[:, DISCRIMINATION] <= multiplier)
    step /= np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True))
    value = old.value + step
    value[:, DISCRIMINATION] = of_mean_1(value[:, DISCRIMINATION], used)
    if view.rao_kupper:
        value[:, TIE] = np.maximum(value[:, TIE], old.value[:, TIE] / 4)
    return replace(old, value=value, variance=np.diagonal(inverse, axis1=1, axis2=2).copy()), of_prompt


def of_mean_1(discrimination: Float, used: Bool) -> Float:
    """(A + 1,) not below 0, and scaled so that those with votes have a mean of 1."""
    positive = np.maximum(discrimination, 0.0)
    return positive / (positive[used].mean() if used.any() else 1.0)


def _mean_kept(gradient: Float, curvature: Float, used: Bool, held: Bool, ties: bool) -> tuple[Float, Float, float]:
    """Newton's step (A + 1, 3) that keeps the mean discrimination of used ones, the inverse curvature, the multiplier.

    held: (A + 1,) whose discrimination may not move.
    """
    free = np.stack([~held, np.ones_like(held), np.full_like(held, ties)], axis=1)  # (A + 1, 3)
    inverse = np.linalg.inv(np.where(free[:, :, None] & free[:, None, :], curvature, np.eye(3) * curvature))
    step = np.einsum("aij,aj->ai", inverse, np.where(free, gradient, 0.0))
    moved = used & ~held
    room = inverse[moved, :, DISCRIMINATION]  # (·, 3) what each gives way to a pull at its discrimination
    multiplier = float(step[moved, DISCRIMINATION].sum() / room[:, DISCRIMINATION].sum()) if moved.any() else 0.0
    step[moved] -= multiplier * room
    return step, inverse.astype(np.float64, copy=False), multiplier


def improve_prior(old: Annotators, pace: float) -> Annotators:
    """Means and variances of the prior after one step of scoring on the marginal likelihood, or a part of it."""
    seen = np.stack([old.votes > 0, old.sided > 0, (old.votes > 0) & old.ties])  # (3, A + 1)
    mean, spread = old.mean.copy(), old.spread.copy()
    for k in range(3):
        value, variance = old.value[seen[k], k], np.minimum(old.variance[seen[k], k], old.spread[k])
        known = 1 - variance / spread[k]  # (·,) share of the posterior's precision that the votes gave
        if k != DISCRIMINATION and len(value):
            pull = (value - mean[k]).sum() / spread[k] - MEAN_PRECISION * (mean[k] - old.guess[k])
            mean[k] += pace * np.clip(pull / (known.sum() / spread[k] + MEAN_PRECISION), -1, 1)
        squares = (value - mean[k]) ** 2 + variance
        spread[k] = scored(spread[k], squares.sum(), len(value), (known**2).sum(), WEAK[k], WEIGHT_OF_WEAK, pace)
    return replace(old, mean=mean, spread=spread)


def scored(
    variance: float, squares: float, count: float, known: float, guess: float, weight: float, pace: float
) -> float:
    """A variance after one step of Fisher scoring on its marginal likelihood, in its logarithm.

    squares: Σ E[x²] over ``count`` variables of mean 0 with this variance. known: Σ (1 − posterior variance over
    variance)², twice the information in log variance. guess, weight: its prior is lognormal around guess, and says as
    much as weight variables that one knows. pace: the part of the step to take.
    """
    score = (squares / variance - count - weight * np.log(variance / guess)) / 2
    information = (known + weight) / 2
    return float(variance * np.exp(pace * np.clip(score / information, -1.0, 1.0)))


def _sums(columns: Columns, view: View, strength: Float, covariance: Float) -> tuple[Float, Float, Float]:
    """(A + 1, 3) gradient and (A + 1, 3, 3) curvature (of minus) the expected log-likelihood of each one's votes; and
    (P, 2) its first and second derivative in each prompt's tie."""
    total, of_prompt = annotator_slopes(columns.places, columns.ballots, view, strength, covariance)
    a, b, t, aa, ab, at_, bb, bt, tt = total.T
    gradient = np.stack([a, b, t], axis=1)
    curvature = -np.stack([aa, ab, at_, ab, bb, bt, at_, bt, tt], axis=1).reshape(-1, 3, 3)
    return gradient, curvature, of_prompt

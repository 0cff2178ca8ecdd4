"""Expected information gain of votes that are not cast yet, and the ranking accuracy after a plan of votes.

Strengths have the normal posterior N(m, Σ) of the hierarchical ranker. A vote on (i, j) comes from a random annotator,
drawn in proportion to past votes. With e = eᵢ − eⱼ it is expected to reduce Σ by J (Σe)(Σe)ᵀ, where J is the expected
Fisher information of the outcome about the mean difference (``vote_information``). Votes depend on perceived strengths,
whose errors the votes of one sitting share: a second vote of a sitting is worth less. The posterior means will change,
too: seen from now, the later mean of a difference is normal around the current mean, with the variance that the
difference loses. The probability of a wrong order averages over these outcomes (``misorder_probability``).

What votes reveal about models and annotators is ignored, so that predicted gains are slightly too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.special import ndtr, owens_t

from curate.array_types import Bool, Float, Index
from curate.evaluation.agreement import best_of, top1
from curate.rankers.hierarchical import Annotators, log_probability

CLASSES = 8
"""Number of classes into which annotators are grouped, by discrimination."""
NODES = np.linspace(-5.0, 5.0, 101)
"""Quadrature nodes, in standard deviations of a difference."""
GRID = np.linspace(0.0, np.log1p(60.0), 61)
"""Means and standard deviations, as log(1 + logits), at which the information of a vote is tabulated."""
TOTAL_DRAWS = 20_000
"""Monte Carlo draws over all prompts for top-1 and best-of-4: ± 0.004, much less between two plans."""
CHUNK = 1_000_000
"""Array elements per chunk of draws."""


@dataclass(frozen=True)
class PosteriorBatch:
    """The posterior of B prompts with N responses each, and the information of one more vote on each pair.

    per_sitting consecutive votes on a prompt come from one annotator, whose errors of perception they share.
    """

    prompts: Index
    """(B,) prompt numbers."""
    slots: Index
    """(B, N) response numbers."""
    mean: Float
    """(B, N) posterior mean of strength, logits."""
    covariance: Float
    """(B, N, N) posterior covariance."""
    information: Float
    """(B, N, N) precision that one vote adds to the perceived difference of i and j, 1 / logits²; 0 on the diagonal."""
    room: Index
    """(B, N, N) votes that may still be collected on i and j; 0 on and below the diagonal."""
    error_variance: float = 0.0
    """Variance of the errors of perception, logits²."""
    per_sitting: int = 1
    """Votes on a prompt that one annotator casts."""

    @property
    def first_information(self) -> Float:
        """(B, N, N) precision that the first vote of a sitting adds to the difference of i and j."""
        return self.information / (1 + 2 * self.error_variance * self.information)

    def of_prompts(self, keep: Bool) -> PosteriorBatch:
        """The same for a selection of prompts. keep: (P,) booleans."""
        rows = keep[self.prompts]
        return replace(
            self,
            prompts=self.prompts[rows],
            slots=self.slots[rows],
            mean=self.mean[rows],
            covariance=self.covariance[rows],
            information=self.information[rows],
            room=self.room[rows],
        )


@dataclass(frozen=True)
class Plan:
    """V votes to collect, the most informative first: the first votes are the plan for a smaller budget."""

    batch: Index
    """(V,) index of the PosteriorBatch."""
    row: Index
    """(V,) index of the prompt in the batch."""
    pair: Index
    """(V, 2) indices of the prompt's responses, the smaller first."""

    def first(self, votes: int) -> Plan:
        """The plan of its first votes."""
        return Plan(self.batch[:votes], self.row[:votes], self.pair[:votes])


class PredictedAccuracy(NamedTuple):
    """Expected accuracy of the order by posterior means, mean over prompts; NaN with too few responses."""

    tau: float
    """Kendall's tau to the true order."""
    top1: float
    """Share of prompts whose first response is truly best."""
    best_of_4: float
    """Share of random sets of four whose first response is truly the best of them."""


def misorder_probability(mean: Float, variance: Float, remaining: Float) -> Float:
    """P(the posterior mean of a difference has the wrong sign, once its variance is reduced to ``remaining``).

    mean, variance: of the current posterior. The later mean is N(mean, variance − remaining), the true difference
    N(mean, variance), and their correlation ρ = √(1 − remaining / variance). They differ in sign with probability
    2 T(|mean| / √variance, √(1 − ρ²) / ρ), with Owen's function T ("Tables for computing bivariate normal
    probabilities", 1956, equation 3.1). Without new votes this is Φ(−|mean| / √variance); at mean 0, arccos(ρ) / π.
    """
    variance = np.maximum(variance, 1e-300)
    share = np.clip(remaining / variance, 0.0, 1.0)
    z = np.abs(mean) / np.sqrt(variance)
    slope = np.sqrt(share / np.maximum(1 - share, 1e-300))
    probability: Float = np.where(share > 1 - 1e-12, ndtr(-z), 2 * owens_t(z, slope))
    return probability


def vote_information(mean: Float, variance: Float, annotators: Annotators) -> Float:
    """The precision that a vote is expected to add to a difference N(mean, variance), 1 / logits²; any shape.

    The outcome o has probability pₒ(m) at mean m. By Stein's identity the later mean has variance v² J with
    J = Σ p′ₒ² / pₒ, averaged over annotators. The remaining variance v − v² J corresponds to adding J / (1 − v J) to
    the precision 1 / v.
    """
    at = [np.log1p(np.minimum(x, 60.0)) / GRID[1] for x in (np.abs(mean), np.sqrt(variance))]
    part = map_coordinates(
        _reduction_table(annotators), at, order=1, mode="nearest"
    )  # v J: relative reduction of the variance
    added: Float = part / (1 - part) / np.maximum(variance, 1e-300)
    return np.where(variance > 0, added, 0.0)


def predict_accuracy(posteriors: Sequence[PosteriorBatch], plan: Plan, *, seed: int = 0) -> PredictedAccuracy:
    """The expected accuracy after the plan's votes, averaged over their outcomes.

    tau is in closed form given the predicted covariances; the others use draws that are the same for every plan.
    """
    rng = np.random.default_rng(seed)
    draws = max(4, TOTAL_DRAWS // max(1, sum(len(posterior.prompts) for posterior in posteriors)))
    tau, first, four = [], [], []
    for b, posterior in enumerate(posteriors):
        n = posterior.mean.shape[1]
        later = after_plan(posterior, plan, b)
        wrong = misorder_probability(
            differences(posterior.mean), difference_variance(posterior.covariance), difference_variance(later)
        )
        i, j = np.triu_indices(n, 1)
        if len(i):
            tau.append(1 - 2 * wrong[:, i, j].mean(axis=1))
        change, rest = root_of(posterior.covariance - later), root_of(later)
        at_once = max(1, CHUNK // (posterior.mean.size * n))
        for start in range(0, draws, at_once):
            shape = (min(at_once, draws - start), *posterior.mean.shape)
            mean = posterior.mean + _times(change, rng.standard_normal(shape))
            truth = mean + _times(rest, rng.standard_normal(shape))
            offsets = np.arange(shape[0] * shape[1] + 1) * n
            first.append(top1(mean.ravel(), truth.ravel(), offsets))
            four.append(best_of(mean.ravel(), truth.ravel(), offsets))
    return PredictedAccuracy(*(_mean(values) for values in (tau, first, four)))


def with_vote(covariance: Float, information: float, i: int, j: int) -> Float:
    """(N, N) the covariance after a vote on i and j (Sherman and Morrison, 1950). Negative i, j count from the end."""
    column = covariance[:, i] - covariance[:, j]
    after: Float = covariance - np.outer(column, column) * (information / (1 + information * (column[i] - column[j])))
    return after


def with_precision(covariance: Float, added: Float) -> Float:
    """(B, N, N) the covariance after adding the precision L = ``added`` (B, N, N): (Σ⁻¹ + L)⁻¹, without inverting Σ."""
    after = np.linalg.solve(np.eye(covariance.shape[1]) + covariance @ added, covariance)
    symmetric: Float = (after + after.swapaxes(1, 2)) / 2
    return symmetric


def after_plan(posterior: PosteriorBatch, plan: Plan, batch: int) -> Float:
    """(B, N, N) the covariance after the plan's votes on this batch."""
    mine = np.flatnonzero(plan.batch == batch)
    mine = mine[np.argsort(plan.row[mine], kind="stable")]
    row, (i, j) = plan.row[mine], plan.pair[mine].T
    added, error = np.zeros_like(posterior.information), posterior.error_variance
    if posterior.per_sitting == 1 or not error:
        np.add.at(added, (row, i, j), posterior.first_information[row, i, j])
        return with_precision(posterior.covariance, laplacian(added + added.swapaxes(1, 2)))
    place = np.arange(len(row)) - np.searchsorted(row, row)  # among the votes on this prompt
    _, first, sitting = np.unique(
        row * (len(row) + 1) + place // posterior.per_sitting, return_index=True, return_inverse=True
    )
    votes = np.zeros((len(first), *added.shape[1:]))
    np.add.at(votes, (sitting, i, j), posterior.information[row, i, j])
    known = laplacian(votes + votes.swapaxes(1, 2))
    np.add.at(added, row[first], known @ np.linalg.inv(np.eye(known.shape[1]) + error * known))
    return with_precision(posterior.covariance, added)


def differences(mean: Float) -> Float:
    """(B, N, N) mean of i minus mean of j."""
    return mean[:, :, None] - mean[:, None, :]


def difference_variance(covariance: Float) -> Float:
    """(…, N, N) variance of i − j: (eᵢ − eⱼ)ᵀ A (eᵢ − eⱼ) for a symmetric matrix A, at least 0."""
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    variance: Float = np.maximum(own[..., :, None] + own[..., None, :] - 2 * covariance, 0.0)
    return variance


def laplacian(weights: Float) -> Float:
    """(B, N, N) Σ weights · (eᵢ − eⱼ)(eᵢ − eⱼ)ᵀ over pairs. weights: (B, N, N) symmetric, 0 on the diagonal."""
    matrix: Float = np.eye(weights.shape[-1]) * weights.sum(axis=-1)[..., None] - weights
    return matrix


def root_of(matrix: Float) -> Float:
    """(B, N, N) symmetric square roots; eigenvalues below 0 (by rounding) count as 0."""
    value, vector = np.linalg.eigh(matrix)
    root: Float = (vector * np.sqrt(np.maximum(value, 0.0))[:, None, :]) @ vector.swapaxes(1, 2)
    return root


def _reduction_table(annotators: Annotators) -> Float:
    """(len(GRID), len(GRID)) expected relative reduction v J of a difference's variance, by mean and deviation."""
    mean, deviation = np.expm1(GRID)[:, None, None], np.maximum(np.expm1(GRID), 1e-3)[None, :, None]
    weight = np.exp(-(NODES**2) / 2)
    weight /= weight.sum()
    reduction = np.zeros((len(GRID), len(GRID)))
    for share, rate, tie in zip(*_classes(annotators), strict=True):
        d = rate * (mean + deviation * NODES)
        for side in (1.0, -1.0, 0.0):
            probability = np.exp(log_probability(d, tie, side))
            # √v p′ₒ = E[pₒ z] with the standard score z (Stein's identity)
            reduction += share * (probability @ (weight * NODES)) ** 2 / np.maximum(probability @ weight, 1e-300)
    return reduction


def _classes(annotators: Annotators) -> tuple[Float, Float, Float]:
    """(≤ CLASSES,) share of votes, mean discrimination and mean tie parameter of classes by discrimination."""
    rate, tie = annotators.discrimination, annotators.tie
    order = np.argsort(rate, kind="stable")
    votes = annotators.votes[order]
    middle = (np.cumsum(votes) - votes / 2) / votes.sum()
    group = np.minimum((middle * CLASSES).astype(np.int64), CLASSES - 1)
    total = np.bincount(group, votes, CLASSES)
    used = total > 0
    rates, ties = (np.bincount(group, votes * x[order], CLASSES)[used] / total[used] for x in (rate, tie))
    return total[used] / total.sum(), rates, ties


def _times(matrix: Float, vector: Float) -> Float:
    """(…, B, N) products of (B, N, N) and (…, B, N)."""
    return (matrix @ vector[..., None])[..., 0]


def _mean(values: list[Float]) -> float:
    """Mean of the values that are not NaN; NaN without any."""
    known = np.concatenate(values) if values else np.zeros(0)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")

"""What votes that are still to be asked are expected to bring: less variance, fewer wrong orders.

Strengths have the normal posterior of the joint model. A vote on (i, j) is foreseen before its outcome, as that of an
annotator drawn by how much each has voted: on average it takes J (Σe)(Σe)ᵀ off the covariance Σ, where e = eᵢ − eⱼ and
J is what the outcome says of the mean gap (``vote_information``). The means will move: seen from now, the later mean of
a gap is normal around the present one, with the variance that the gap loses. Each chance of a wrong order is foreseen
over all that the votes may say (``misorder``).

What votes teach of models and annotators is not foreseen, so that gains come out a little low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates
from scipy.special import ndtr, owens_t

from curate.evaluation.agreement import best_of, top1
from curate.rankers.hierarchical import Annotators, log_probability

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

CLASSES = 8
"""Annotators are foreseen as so many kinds, by discrimination."""
NODES = np.linspace(-5.0, 5.0, 101)
"""Quadrature nodes, standard deviations of a gap around its mean."""
GRID = np.linspace(0.0, np.log1p(60.0), 61)
"""Gaps and deviations at which the information of a vote is computed, log(1 + logits); linear between them."""
SCORED = 20_000
"""Draws over all prompts by which top-1 and best-of-4 are foreseen: ± 0.004, much less between two plans."""
CELLS = 1_000_000
"""Pairs of draws that are held in memory at a time, 8 bytes each a few times over."""


@dataclass(frozen=True)
class Beliefs:
    """What is known of B prompts with N responses each, and what one more vote on any pair would tell."""

    prompts: Int
    """(B,) which prompts."""
    slots: Int
    """(B, N) the numbers of their responses."""
    mean: Float
    """(B, N) posterior mean of strength, logits."""
    covariance: Float
    """(B, N, N) posterior covariance."""
    information: Float
    """(B, N, N) precision that one vote adds to the gap of i and j, 1 / logits²; 0 on the diagonal."""
    room: Int
    """(B, N, N) votes that may still be asked on i and j; filled above the diagonal only."""

    def of_prompts(self, keep: npt.NDArray[np.bool_]) -> Beliefs:
        """The same of the chosen prompts only. keep: (P,)."""
        rows = keep[self.prompts]
        return Beliefs(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class Plan:
    """V votes to ask, the most telling first: its first votes are the plan for a smaller budget."""

    batch: Int
    """(V,) which Beliefs."""
    row: Int
    """(V,) which of its prompts."""
    pair: Int
    """(V, 2) which of the prompt's responses, the smaller number first."""

    def first(self, votes: int) -> Plan:
        """The first of its votes."""
        return Plan(self.batch[:votes], self.row[:votes], self.pair[:votes])


class Foreseen(NamedTuple):
    """Expected accuracy of the order by posterior means, mean over prompts; NaN where all have too few responses."""

    tau: float
    """Kendall's tau to the true order."""
    top1: float
    """Share of prompts whose first is truly best."""
    best_of_4: float
    """Share of random fours whose first is truly their best."""


def misorder(gap: Float, variance: Float, left: Float) -> Float:
    """P(a pair is ordered wrongly by the mean of its gap, once only ``left`` of the gap's variance is left).

    gap, variance: of the posterior now. The later mean is N(gap, variance − left), the gap itself N(gap, variance), and
    their correlation ρ = √(1 − left / variance): they differ in sign with chance 2 T(|gap| / √variance, √(1 − ρ²) / ρ),
    where T is the function of Owen ("Tables for computing bivariate normal probabilities", 1956, equation 3.1). Nothing
    learned: Φ(−|gap| / √variance). At gap 0: arccos(ρ) / π.
    """
    variance = np.maximum(variance, 1e-300)
    share = np.clip(left / variance, 0.0, 1.0)
    z = np.abs(gap) / np.sqrt(variance)
    slope = np.sqrt(share / np.maximum(1 - share, 1e-300))
    chance: Float = np.where(share > 1 - 1e-12, ndtr(-z), 2 * owens_t(z, slope))
    return chance


def vote_information(gap: Float, variance: Float, annotators: Annotators) -> Float:
    """Precision that a vote on a pair adds to its gap N(gap, variance), 1 / logits²; any shape.

    The outcome o has the chance pₒ(m), m the mean gap; by Stein's identity the later mean of the gap has the variance
    v² J, J = Σ p′ₒ² / pₒ, averaged over annotators: the gap keeps v − v² J, as if J / (1 − v J) were added to 1 / v.
    """
    at = [np.log1p(np.minimum(x, 60.0)) / GRID[1] for x in (np.abs(gap), np.sqrt(variance))]
    part = map_coordinates(_learned(annotators), at, order=1, mode="nearest")  # v J: share of the variance taken off
    added: Float = part / (1 - part) / np.maximum(variance, 1e-300)
    return np.where(variance > 0, added, 0.0)


def foresee(beliefs: Sequence[Beliefs], plan: Plan, *, seed: int = 0) -> Foreseen:
    """Expected accuracy once the plan's votes are in, over all that they may say. tau is exact for the foreseen
    covariances, the others by draws that are the same for every plan."""
    rng = np.random.default_rng(seed)
    draws = max(4, SCORED // max(1, sum(len(belief.prompts) for belief in beliefs)))
    tau, first, four = [], [], []
    for b, belief in enumerate(beliefs):
        n = belief.mean.shape[1]
        later = after_plan(belief, plan, b)
        wrong = misorder(gaps(belief.mean), gap_variance(belief.covariance), gap_variance(later))
        i, j = np.triu_indices(n, 1)
        if len(i):
            tau.append(1 - 2 * wrong[:, i, j].mean(axis=1))
        moves, rests = root_of(belief.covariance - later), root_of(later)
        at_once = max(1, CELLS // (belief.mean.size * n))
        for start in range(0, draws, at_once):
            shape = (min(at_once, draws - start), *belief.mean.shape)
            mean = belief.mean + _times(moves, rng.standard_normal(shape))
            truth = mean + _times(rests, rng.standard_normal(shape))
            offsets = np.arange(shape[0] * shape[1] + 1) * n
            first.append(top1(mean.ravel(), truth.ravel(), offsets))
            four.append(best_of(mean.ravel(), truth.ravel(), offsets))
    return Foreseen(*(_mean(values) for values in (tau, first, four)))


def with_vote(covariance: Float, information: float, i: int, j: int) -> Float:
    """(N, N) the covariance after a vote on i and j (Sherman and Morrison, 1950)."""
    column = covariance[:, i] - covariance[:, j]
    after: Float = covariance - np.outer(column, column) * (information / (1 + information * (column[i] - column[j])))
    return after


def with_precision(covariance: Float, added: Float) -> Float:
    """(B, N, N) the covariance once precision ``added`` (B, N, N) is on the gaps: (Σ⁻¹ + L)⁻¹, Σ not inverted."""
    after = np.linalg.solve(np.eye(covariance.shape[1]) + covariance @ laplacian(added), covariance)
    symmetric: Float = (after + after.swapaxes(1, 2)) / 2
    return symmetric


def after_plan(belief: Beliefs, plan: Plan, batch: int) -> Float:
    """(B, N, N) the covariance once the plan's votes on this batch are in."""
    mine = plan.batch == batch
    asked = np.zeros_like(belief.information)
    np.add.at(asked, (plan.row[mine], plan.pair[mine, 0], plan.pair[mine, 1]), 1.0)
    return with_precision(belief.covariance, (asked + asked.swapaxes(1, 2)) * belief.information)


def gaps(mean: Float) -> Float:
    """(B, N, N) mean of i − mean of j."""
    return mean[:, :, None] - mean[:, None, :]


def gap_variance(covariance: Float) -> Float:
    """(…, N, N) variance of i − j; of any symmetric matrix A: (eᵢ − eⱼ)ᵀ A (eᵢ − eⱼ), never below 0."""
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    variance: Float = np.maximum(own[..., :, None] + own[..., None, :] - 2 * covariance, 0.0)
    return variance


def laplacian(weights: Float) -> Float:
    """(B, N, N) Σ weights · (eᵢ − eⱼ)(eᵢ − eⱼ)ᵀ over pairs. weights: (B, N, N) symmetric, 0 on the diagonal."""
    matrix: Float = np.eye(weights.shape[-1]) * weights.sum(axis=-1)[..., None] - weights
    return matrix


def root_of(matrix: Float) -> Float:
    """(B, N, N) symmetric square roots; what is below 0 by rounding counts as 0."""
    value, vector = np.linalg.eigh(matrix)
    root: Float = (vector * np.sqrt(np.maximum(value, 0.0))[:, None, :]) @ vector.swapaxes(1, 2)
    return root


def _learned(annotators: Annotators) -> Float:
    """(len(GRID), len(GRID)) share v J of a gap's variance that a vote takes off on average, by mean and deviation."""
    mean, deviation = np.expm1(GRID)[:, None, None], np.maximum(np.expm1(GRID), 1e-3)[None, :, None]
    weight = np.exp(-(NODES**2) / 2)
    weight /= weight.sum()
    taken = np.zeros((len(GRID), len(GRID)))
    for share, rate, tie in zip(*_kinds(annotators), strict=True):
        d = rate * (mean + deviation * NODES)
        for side in (1.0, -1.0, 0.0):
            chance = np.exp(log_probability(d, tie, side))
            # √v p′ₒ = E[pₒ z], z the gap's standard score (Stein's identity)
            taken += share * (chance @ (weight * NODES)) ** 2 / np.maximum(chance @ weight, 1e-300)
    return taken


def _kinds(annotators: Annotators) -> tuple[Float, Float, Float]:
    """(≤ CLASSES,) share of votes, mean discrimination and mean tie parameter of annotators of like discrimination."""
    rate, tie = annotators.discrimination, annotators.tie
    order = np.argsort(rate, kind="stable")
    votes = annotators.votes[order]
    middle = (np.cumsum(votes) - votes / 2) / votes.sum()
    kind = np.minimum((middle * CLASSES).astype(np.int64), CLASSES - 1)
    total = np.bincount(kind, votes, CLASSES)
    used = total > 0
    rates, ties = (np.bincount(kind, votes * x[order], CLASSES)[used] / total[used] for x in (rate, tie))
    return total[used] / total.sum(), rates, ties


def _times(matrix: Float, vector: Float) -> Float:
    """(…, B, N) products of (B, N, N) and (…, B, N)."""
    return (matrix @ vector[..., None])[..., 0]


def _mean(values: list[Float]) -> float:
    """Mean of what is not NaN; NaN where there is nothing."""
    known = np.concatenate(values) if values else np.zeros(0)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")

"""The likelihood of votes: Davidson's model, averaged over the posterior of each gap, and its derivatives.

A vote of annotator a on responses l (left) and r (right) of prompt p has the advantage and the tie parameter

    d = discrimination[a] (θ[l] − θ[r]) + left_bias[a] [sides known],    t = tie[a] + prompt_tie[p],

and the outcome probabilities left : right : tie = exp(d/2) : exp(−d/2) : exp(t) (Davidson, "On extending the
Bradley-Terry model to accommodate ties in paired comparison experiments", 1970; exp(t) is his ν), concave in (d, t) as
logarithms. The posterior of the gap θ[l] − θ[r] is normal, and expectations over it are Gauss-Hermite sums. Gradient
and negative second derivative of the expected log-likelihood in θ are the likelihood sites.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.rankers.base import Float
from curate.votes.blocks import VoteData, sums

DISCRIMINATION, BIAS, TIE = range(3)  # columns of an annotator's parameters
LEAST_TIE = -40.0  # the tie parameter at which the probability of a tie is 0 in double precision
# Limit of the standard deviation of an advantage, logits. The curvature of a vote is about this wide: quadrature nodes
# farther apart would lie on separate curves, and Newton's method would not converge
MAX_DEVIATION = 2.0
CHUNK_VOTES = 8192  # votes that are processed together: their arrays fit into the processor's cache


def log_probability(d: Float, t: Float, side: Float | float) -> Float:
    """The log-probability of an outcome; arguments broadcast. side: 1 left, −1 right, 0 tie."""
    half = np.abs(d) / 2
    total = half + np.log1p(np.exp(-2 * half) + np.exp(t - half))
    return np.asarray(np.where(np.equal(side, 0), t, np.multiply(side, d) / 2) - total)


class Derivatives(NamedTuple):
    """First and second derivatives of the log-probability in the advantage d and the tie parameter t."""

    d: Float
    t: Float
    dd: Float
    dt: Float
    tt: Float


def derivatives(d: Float, nu: Float, side: Float) -> Derivatives:
    """The derivatives at advantage d and ν = exp(t)."""
    small = np.exp(-np.abs(d) / 2)  # all three weights over exp(|d|/2) do not overflow
    square = small * small
    larger = 1 / (1 + square + nu * small)
    tie = nu * small * larger
    half_lean = np.copysign((1 - square) * larger / 2, d)  # (P(left) − P(right)) / 2
    decisive = 1 - tie
    dd = half_lean * half_lean - decisive / 4
    return Derivatives(side / 2 - half_lean, (side == 0) - tie, dd, half_lean * tie, -tie * decisive)


def quadrature(nodes: int) -> tuple[Float, Float]:
    """(nodes,) points and (nodes,) weights of the expectation over a standard normal."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return points, weights / weights.sum()


class Sites(NamedTuple):
    """The votes' expected log-likelihood in the strengths to second order, hᵀθ − θᵀJθ / 2."""

    linear: Float  # (R,) h
    information: Float  # J, flat


class ParameterDerivatives(NamedTuple):
    """Derivatives of the votes' expected log-likelihood in the parameters of annotators and prompts."""

    gradient: Float  # (A + 1, 3)
    hessian: Float  # (A + 1, 3, 3)
    prompt_gradient: Float  # (P,) in prompt_tie
    prompt_hessian: Float  # (P,) second derivative


@dataclass(frozen=True)
class Likelihood:
    """The votes, with the current parameters of annotators and prompts."""

    data: VoteData
    value: Float  # (A + 1, 3) parameters of the annotators
    prompt_tie: Float  # (P,)
    nodes: int

    def sites(self, strength: Float, covariance: Float) -> Sites:
        """The likelihood sites around strengths (R,), in expectation over gaps with this flat covariance."""
        data = self.data
        slope, curvature = np.empty(len(data.left)), np.empty(len(data.left))
        for chunk, _, found, shares in self._at_nodes(strength, covariance):
            rate = self.value[data.annotator[chunk], DISCRIMINATION]
            slope[chunk] = data.weight[chunk] * rate * (shares @ found.d)
            curvature[chunk] = data.weight[chunk] * rate * rate * (shares @ found.dd)
        gradient = sums(data.left, slope, len(strength)) - sums(data.right, slope, len(strength))
        information = sums(data.cell[2], curvature, data.cells)
        for block in data.blocks:  # Σ over votes of −curvature (e_l − e_r)(e_l − e_r)ᵀ
            matrix = block.of(information)
            matrix += matrix.swapaxes(1, 2).copy()
            np.einsum("bii->bi", matrix)[:] = -matrix.sum(axis=2)
        return Sites(gradient + data.product(information, strength), information)

    def parameter_derivatives(self, strength: Float, covariance: Float) -> ParameterDerivatives:
        """The derivatives in the annotators' and prompts' parameters, in expectation over the gaps."""
        data = self.data
        rows = np.empty((9, len(data.left)))  # derivatives in a, b, t, aa, ab, at, bb, bt, tt
        for chunk, gap, found, shares in self._at_nodes(strength, covariance):
            by_gap = found.dd * gap
            each = (found.d * gap, found.d, found.t, by_gap * gap, by_gap, found.dt * gap, found.dd, found.dt, found.tt)
            for row, of_vote in zip(rows, each, strict=True):
                row[chunk] = data.weight[chunk] * (shares @ of_vote)
        rows[[1, 4, 6, 7]] *= data.sides_known
        of_annotator = np.stack([sums(data.annotator, row, data.annotators) for row in rows], axis=1)
        return ParameterDerivatives(
            gradient=of_annotator[:, :3],
            hessian=of_annotator[:, [3, 4, 5, 4, 6, 7, 5, 7, 8]].reshape(-1, 3, 3),
            prompt_gradient=sums(data.prompt, rows[2], data.prompts),
            prompt_hessian=sums(data.prompt, rows[8], data.prompts),
        )

    def step_size(self, step: Float) -> float:
        """The part of a Newton step (R,) in the strengths by which the log-likelihood provably increases.

        The third derivative of a vote's log-probability is at most its second. So log(1 + r) / r of a step is safe, r
        being the largest change of an advantage (Sun and Tran-Dinh, "Generalized self-concordant functions", 2019), and
        all of it for r ≤ 1.5 (Bach, "Self-concordant analysis for logistic regression", 2010, proposition 1).
        """
        data = self.data
        change = self.value[data.annotator, DISCRIMINATION] * np.abs(step[data.left] - step[data.right])
        largest = float(change.max(initial=0.0))
        return 1.0 if largest <= 1.5 else float(np.log1p(largest) / largest)

    def _at_nodes(self, strength: Float, covariance: Float) -> Iterator[tuple[slice, Float, Derivatives, Float]]:
        """For each chunk of votes: its slice, (nodes, v) gaps, (nodes, v) derivatives, and (nodes,) weights."""
        data, (points, shares) = self.data, quadrature(self.nodes)
        nu, prompt_nu = np.exp(self.value[:, TIE]), np.exp(self.prompt_tie)
        deviation = np.sqrt(data.gap_variance(covariance))
        for start in range(0, len(data.left), CHUNK_VOTES):
            chunk = slice(start, start + CHUNK_VOTES)
            rate, bias, _ = self.value[data.annotator[chunk]].T
            limited = np.minimum(deviation[chunk], MAX_DEVIATION / np.maximum(rate, 1e-12))
            gap = strength[data.left[chunk]] - strength[data.right[chunk]] + points[:, None] * limited
            d = rate * gap + bias * data.sides_known[chunk]
            of_vote = nu[data.annotator[chunk]] * prompt_nu[data.prompt[chunk]]
            yield chunk, gap, derivatives(d, of_vote, data.side[chunk]), shares

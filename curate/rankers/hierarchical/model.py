"""The likelihood of votes: Davidson's model of perceived strengths, and expectation propagation for it.

A vote of annotator a on responses l (left) and r (right) of prompt p depends on the perceived gap, with an error of
perception e of each response that the votes of one sitting share:

    u = (θ[l] + e[l]) − (θ[r] + e[r]),   e ~ N(0, error_variance),
    d = discrimination[a] u + left_bias[a] [sides known],    t = tie[a] + prompt_tie[p],

with outcome probabilities left : right : tie = exp(d/2) : exp(−d/2) : exp(t) (Davidson, "On extending the
Bradley-Terry model to accommodate ties in paired comparison experiments", 1970; exp(t) is his ν).

Expectation propagation (Minka, 2001) replaces each vote's likelihood by a normal site (perception.py). The tilted
distribution, posterior of u divided by the site and multiplied by the likelihood, has its moments from Gauss-Hermite
quadrature around the posterior; so do the derivatives of the log-likelihood in the annotators' and prompts' parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.rankers.base import Float
from curate.rankers.hierarchical.perception import PerceivedGaps, VoteSites
from curate.votes.blocks import VoteData, sums

DISCRIMINATION, BIAS, TIE = range(3)  # columns of an annotator's parameters
LEAST_TIE = -40.0  # the tie parameter at which the probability of a tie is 0 in double precision
LEAST_RATIO = 0.02  # of a tilted variance to the posterior's: far from the fixed point, quadrature can be worse
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


def derivatives(d: Float, nu: Float, side: Float) -> tuple[Derivatives, Float]:
    """The derivatives at advantage d and ν = exp(t), and the probability of the outcome."""
    small = np.exp(-np.abs(d) / 2)  # all three weights over exp(|d|/2) do not overflow
    square = small * small
    larger = 1 / (1 + square + nu * small)
    tie = nu * small * larger
    half_lean = np.copysign((1 - square) * larger / 2, d)  # (P(left) − P(right)) / 2
    decisive = 1 - tie
    dd = half_lean * half_lean - decisive / 4
    probability = np.where(side == 0, tie, np.where(side * d >= 0, larger, square * larger))
    return Derivatives(side / 2 - half_lean, (side == 0) - tie, dd, half_lean * tie, -tie * decisive), probability


def quadrature(nodes: int) -> tuple[Float, Float]:
    """(nodes,) points and (nodes,) weights of the expectation over a standard normal."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return points, weights / weights.sum()


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

    def update(
        self, sites: VoteSites, gaps: PerceivedGaps, *, step_size: float = 1.0
    ) -> tuple[VoteSites, ParameterDerivatives]:
        """The sites after one update in parallel, and derivatives in expectation over the tilted distributions.

        A vote of weight below 1 takes only this part of its site and its likelihood out and in (power EP, Minka, 2004).
        """
        data, (points, shares) = self.data, quadrature(self.nodes)
        nu, prompt_nu, z = np.exp(self.value[:, TIE]), np.exp(self.prompt_tie), points[:, None]
        precision, linear = np.empty_like(sites.precision), np.empty_like(sites.linear)
        rows = np.empty((9, len(data.left)))  # derivatives in a, b, t, aa, ab, at, bb, bt, tt
        for start in range(0, len(data.left), CHUNK_VOTES):
            chunk = slice(start, start + CHUNK_VOTES)
            rate, bias, _ = self.value[data.annotator[chunk]].T
            mean, variance, side = gaps.mean[chunk], np.maximum(gaps.variance[chunk], 1e-12), data.side[chunk]
            tau, old_linear, part = sites.precision[chunk], sites.linear[chunk], np.minimum(data.weight[chunk], 1.0)
            deviation = np.sqrt(variance)
            gap = mean + z * deviation
            d = rate * gap + bias * data.sides_known[chunk]
            found, probability = derivatives(d, nu[data.annotator[chunk]] * prompt_nu[data.prompt[chunk]], side)
            of_site = z * ((tau * mean - old_linear) * deviation + z * (tau * variance / 2))  # logarithm of 1 / site
            ratio = np.exp(of_site - of_site.max(axis=0))
            ratio *= probability
            if (part < 1).any():
                ratio **= part
            ratio *= shares[:, None]
            ratio /= np.maximum(ratio.sum(axis=0), 1e-300)
            first = points @ ratio
            spread = np.maximum(points**2 @ ratio - first * first, LEAST_RATIO)
            new = np.maximum(tau + (1 / spread - 1) / (part * variance), 0.0)
            total = 1 / variance + part * (new - tau)
            precision[chunk] = tau + step_size * (new - tau)
            linear[chunk] = old_linear + step_size * ((mean + first * deviation) * total - mean / variance) / part
            by_gap = found.dd * gap
            each = (found.d * gap, found.d, found.t, by_gap * gap, by_gap, found.dt * gap, found.dd, found.dt, found.tt)
            for row, of_vote in zip(rows, each, strict=True):
                row[chunk] = data.weight[chunk] * np.einsum("kv,kv->v", ratio, of_vote)
        return VoteSites(precision, linear), self._sums(rows)

    def _sums(self, rows: Float) -> ParameterDerivatives:
        """The derivatives (9, V) of the votes, summed over annotators and prompts."""
        data = self.data
        rows[[1, 4, 6, 7]] *= data.sides_known
        of_annotator = np.stack([sums(data.annotator, row, data.annotators) for row in rows], axis=1)
        return ParameterDerivatives(
            gradient=of_annotator[:, :3],
            hessian=of_annotator[:, [3, 4, 5, 4, 6, 7, 5, 7, 8]].reshape(-1, 3, 3),
            prompt_gradient=sums(data.prompt, rows[2], data.prompts),
            prompt_hessian=sums(data.prompt, rows[8], data.prompts),
        )

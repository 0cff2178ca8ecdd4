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
from functools import cache
from typing import NamedTuple

import numpy as np

from curate.array_types import Float
from curate.rankers.hierarchical.perception import PerceivedGaps, VoteSites
from curate.votes.blocks import VoteData

DISCRIMINATION, BIAS, TIE = range(3)  # columns of an annotator's parameters
LEAST_TIE = -40.0  # the tie parameter at which the probability of a tie is 0 in double precision


def log_probability(d: Float, t: Float, side: Float | float) -> Float:
    """The log-probability of an outcome; arguments broadcast. side: 1 left, −1 right, 0 tie."""
    half = np.abs(d) / 2
    total = half + np.log1p(np.exp(-2 * half) + np.exp(t - half))
    return np.asarray(np.where(np.equal(side, 0), t, np.multiply(side, d) / 2) - total)


@cache
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
        from curate.rankers.hierarchical.kernels import tilt

        data, points_shares = self.data, quadrature(self.nodes)
        new = VoteSites(sites.precision.copy(), sites.linear.copy())
        of_annotator, of_prompt = np.zeros((data.annotators, 9)), np.zeros((data.prompts, 2))
        votes = (data.annotator, data.prompt, data.side, data.sides_known, data.weight)
        parameters = (self.value, np.exp(self.value[:, TIE]), np.exp(self.prompt_tie))
        tilt(*votes, *parameters, gaps.mean, gaps.variance, *new, *points_shares, step_size, of_annotator, of_prompt)
        return new, ParameterDerivatives(
            gradient=of_annotator[:, :3],
            hessian=of_annotator[:, [3, 4, 5, 4, 6, 7, 5, 7, 8]].reshape(-1, 3, 3),
            prompt_gradient=of_prompt[:, 0],
            prompt_hessian=of_prompt[:, 1],
        )

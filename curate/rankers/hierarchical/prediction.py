"""The posterior predictive distribution of the hierarchical ranker: log odds of new votes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import logsumexp

from curate.rankers.base import Float
from curate.rankers.hierarchical.annotators import BIAS, DISCRIMINATION, TIE
from curate.rankers.hierarchical.votes import MODELS, quadrature
from curate.votes.arrays import VoteArrays

if TYPE_CHECKING:
    from curate.rankers.hierarchical.ranker import HierarchicalFit

NODES = 5
"""Quadrature nodes over the posterior of a difference in strength, of a discrimination and of a side bias."""


def log_odds(fit: HierarchicalFit, votes: VoteArrays) -> Float:
    """Return the (V,) log odds of left, given a decisive outcome. votes: on the responses of the fit.

    Probabilities are averaged over the posterior of the difference in strength, and over discrimination and side bias
    of the annotator: over their posterior (Laplace) where the annotator has votes in the fit, else over the prior. The
    prior mean alone would be overconfident. Side bias enters where sides are known.
    """
    gap = fit.strength[votes.left] - fit.strength[votes.right]
    deviation = np.sqrt(np.maximum(_difference_variance(fit, votes), 0))
    people = fit.annotators
    seen = (people.votes > 0)[votes.annotator]  # (V,) −1: anonymous, the last row
    own = np.where(seen[:, None], people.value[votes.annotator], people.mean)
    error = np.sqrt(np.where(seen[:, None], people.variance[votes.annotator], people.spread))  # (V, 3)
    tie = own[:, TIE] + fit.prompt_tie[votes.response_prompt[votes.left]]
    nodes = list(zip(*quadrature(NODES), strict=True))
    log_probability = []
    for side in (1.0, -1.0):
        terms = []
        for (a, weight_a), (b, weight_b), (g, weight_g) in product(nodes, nodes, nodes):
            discrimination = np.maximum(own[:, DISCRIMINATION] + a * error[:, DISCRIMINATION], 0)
            bias = (own[:, BIAS] + b * error[:, BIAS]) * votes.sides_known
            advantage = discrimination * (gap + g * deviation) + bias
            value = MODELS[fit.ties].log_chance(advantage, tie, np.full(len(gap), side))
            terms.append(value + np.log(weight_a * weight_b * weight_g))
        log_probability.append(logsumexp(terms, axis=0))
    odds: Float = log_probability[0] - log_probability[1]
    return odds


def _difference_variance(fit: HierarchicalFit, votes: VoteArrays) -> Float:
    """(V,) posterior variance of strength left − strength right."""
    variance = np.zeros(len(votes.left))
    fitted = fit.votes
    place = np.arange(len(fitted.responses)) - fitted.offsets[fitted.response_prompt]  # (R,) within the prompt
    prompt = votes.response_prompt[votes.left]
    row = np.full(len(fitted.prompts), -1)
    for graphs, matrices in zip(fitted.graphs, fit.covariance, strict=True):
        row[:] = -1
        row[graphs.prompts] = np.arange(len(graphs.prompts))
        mine = np.flatnonzero(row[prompt] >= 0)
        b, i, j = row[prompt[mine]], place[votes.left[mine]], place[votes.right[mine]]
        variance[mine] = matrices[b, i, i] + matrices[b, j, j] - 2 * matrices[b, i, j]
    return variance

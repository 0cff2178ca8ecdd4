"""Log odds that a method gives to a vote: the joint model's own, and any other's as a slope times a gap in scores."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from curate.rankers.hierarchical import HierarchicalFit
from curate.rankers.hierarchical.annotators import BIAS, DISCRIMINATION, TIE
from curate.rankers.hierarchical.votes import MODELS, TieModel, quadrature
from curate.votes.arrays import VoteArrays

NODES = 5
"""Quadrature nodes over the posterior of a gap, of a discrimination and of a bias."""

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]


def fit_slope(gap: Float, left: Bool, weight: Float) -> float:
    """The slope, at least 0, whose product with the gap is the likeliest log odds of left.

    A vote each way on a pair of root-mean-square gap is added, so that the slope is finite where no vote goes against
    the scores. gap: (V,) score left − score right; left: (V,) whether left was chosen; weight: (V,).
    """
    size = float(np.sqrt(np.mean(gap**2))) if len(gap) else 0.0
    if size == 0:
        return 0.0
    agreeing = np.append(np.where(left, gap, -gap) / size, [1.0, -1.0])
    weight = np.append(weight, [1.0, 1.0])

    def uphill(slope: float) -> float:
        return float((weight * agreeing * expit(-slope * agreeing)).sum())

    if uphill(0.0) <= 0:
        return 0.0
    # x σ(−sx) < 0.28 / s for x > 0, and the two added votes pull back by tanh(s / 2): downhill at any s above the sum
    return float(brentq(uphill, 0.0, 1.0 + weight.sum())) / size


def joint_odds(fit: HierarchicalFit, train: VoteArrays, held: VoteArrays, ties: TieModel) -> Float:
    """(V,) log odds of left, given a decision: chances averaged over the posterior of each gap.

    train: the votes of the fit. held: votes on the same responses. Averaged too is over discrimination and bias of the
    annotator: over their posterior (Laplace) where they have votes in train, else over the prior of annotators. An
    average annotator would be too sure. Bias enters where sides are known; a prompt on which people tie more decides
    less by the same gap.
    """
    gap = fit.strength[held.left] - fit.strength[held.right]
    deviation = np.sqrt(np.maximum(_gap_variance(fit, train, held), 0))
    people = fit.annotators
    seen = (people.votes > 0)[held.annotator]  # (V,) −1: anonymous, the last
    own = np.where(seen[:, None], people.value[held.annotator], people.mean)
    doubt = np.sqrt(np.where(seen[:, None], people.variance[held.annotator], people.spread))  # (V, 3)
    tie = own[:, TIE] + fit.prompt_tie[held.response_prompt[held.left]]
    nodes = list(zip(*quadrature(NODES), strict=True))
    chance = []
    for side in (1.0, -1.0):
        at = []
        for (a, of_a), (b, of_b), (g, of_g) in product(nodes, nodes, nodes):
            discrimination = np.maximum(own[:, DISCRIMINATION] + a * doubt[:, DISCRIMINATION], 0)
            bias = (own[:, BIAS] + b * doubt[:, BIAS]) * held.sides_known
            advantage = discrimination * (gap + g * deviation) + bias
            log_chance = MODELS[ties].log_chance(advantage, tie, np.full(len(gap), side))
            at.append(log_chance + np.log(of_a * of_b * of_g))
        chance.append(logsumexp(at, axis=0))
    odds: Float = chance[0] - chance[1]
    return odds


def _gap_variance(fit: HierarchicalFit, train: VoteArrays, held: VoteArrays) -> Float:
    """(V,) posterior variance of strength left − strength right."""
    variance = np.zeros(len(held.left))
    place = np.arange(len(train.responses)) - train.offsets[train.response_prompt]  # (R,) within the prompt
    prompt = held.response_prompt[held.left]
    row = np.full(len(train.prompts), -1)
    for graphs, matrices in zip(train.graphs, fit.covariance, strict=True):
        row[:] = -1
        row[graphs.prompts] = np.arange(len(graphs.prompts))
        mine = np.flatnonzero(row[prompt] >= 0)
        b, i, j = row[prompt[mine]], place[held.left[mine]], place[held.right[mine]]
        variance[mine] = matrices[b, i, i] + matrices[b, j, j] - 2 * matrices[b, i, j]
    return variance

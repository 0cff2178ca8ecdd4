"""The influence of votes on the posterior of the strengths, to first order.

Leaving a vote out takes its site (perception.py) out of the posterior. With the posterior N(m, C) of the strengths and
û, s the posterior mean and variance of the vote's perceived gap, the strengths then move by

    −C Bᵀx (ν − τ û) / (1 − τ s),

which is exact for one vote, given the other votes' sites and the annotators (the "infinitesimal jackknife" with the
correction of a single site; Giordano et al., "A Swiss Army infinitesimal jackknife", 2019).
"""

from __future__ import annotations

import numpy as np

from curate.array_types import Float, Index
from curate.rankers.hierarchical.fit import HierarchicalFit
from curate.rankers.hierarchical.perception import Perception
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import times, vote_data

LEAST_REST = 0.05
"""Of 1 − τ s: below, a vote is nearly all that is known of a gap, and the first order says little."""


def influence(votes: VoteArrays, fit: HierarchicalFit, best: Index, rival: Index) -> Float:
    """Return (V,) by how much the gap of two responses of its prompt shrinks if a vote is left out, logits.

    votes: those of the fit. best, rival: (P,) response numbers of each prompt's gap, strength best − rival; −1 for a
    prompt without one, whose votes get 0.
    """
    data, count = vote_data(votes), len(votes.responses)
    asked = np.flatnonzero(best >= 0)
    contrast = np.zeros(count)
    contrast[best[asked]] += 1.0
    contrast[rival[asked]] -= 1.0
    normal = fit.normal
    perception = Perception(data, fit.sites, fit.prior.error_variance)
    gaps = perception.perceived(*normal)
    along = data.product(normal.covariance, contrast)  # (R,) covariance of each strength with the gap
    moved = perception.share * (along[data.left] - along[data.right])
    if (sittings := perception.sittings) is not None:
        own = along[sittings.response]
        for block in sittings.blocks:
            matrix = block.of(perception.information)
            own[block.responses] -= fit.prior.error_variance * times(matrix, own[block.responses])
        moved[sittings.votes] = own[sittings.left] - own[sittings.right]
    residual = perception.linear - perception.precision * gaps.mean
    rest = np.maximum(1 - perception.precision * gaps.variance, LEAST_REST)
    shrinks: Float = moved * residual / rest
    return shrinks

"""Errors of perception, integrated out sitting by sitting.

The likelihood of each vote is replaced by a normal site exp(ν u − τ u² / 2) in its perceived gap
u = (θ[l] + e[l]) − (θ[r] + e[r]), where e ~ N(0, error_variance) for each response of a sitting. With the sites of a
sitting, L = Σ τ x xᵀ and h = Σ ν x (x = e_l − e_r),

    B = (1 + error_variance L)⁻¹,   message to the strengths: precision L B, linear term B h,
    θ + e given a posterior N(m, C) of θ: mean B (m + error_variance h), covariance error_variance B + B C B,

so that the message of repeated votes saturates at precision 1 / error_variance. Sittings of equally many responses are
processed together; a vote that is a sitting of its own needs no matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.array_types import Float
from curate.votes.blocks import Sittings, VoteData, sums, times


class Sites(NamedTuple):
    """What votes state about the strengths to second order, hᵀθ − θᵀJθ / 2."""

    linear: Float  # (R,) h
    information: Float  # J, flat


class VoteSites(NamedTuple):
    """The normal site of each vote in its perceived gap; a vote of weight w has w such sites."""

    precision: Float  # (V,) τ
    linear: Float  # (V,) ν


class PerceivedGaps(NamedTuple):
    """The posterior of the perceived gap of each vote, and what it states about the error variance.

    With the message M = L B of a sitting and the posterior covariance C of its strengths, the precision of the errors
    that remains after strengths are known only so well is P = M − M C M, and M C' M between two sittings.
    """

    mean: Float  # (V,) logits
    variance: Float  # (V,) logits²
    score: float  # twice the derivative of the log-evidence in the error variance
    information: float  # Σ tr M² − 2 M³ C; with tr (Σ M² C)² of the prompts, the sum of all squared precisions
    squares: Float  # Σ M², flat


class Perception:
    """The votes' sites with the errors of perception integrated out; attribute ``sites`` is the message."""

    def __init__(self, data: VoteData, votes: VoteSites, error_variance: float) -> None:
        from curate.rankers.hierarchical.kernels import messages

        self.data, self.error_variance = data, error_variance
        self.precision, self.linear, self.share = np.empty((3, len(data.left)))
        """(V,) of a vote's sites, and the share of the precision that is left if the vote is a sitting of its own."""
        self.sittings = data.sittings if error_variance and len(data.sittings.votes) else None
        alone = np.ones(len(data.left), dtype=np.bool_) if self.sittings is None else data.alone
        (of_left, of_right), pairs = np.zeros((2, len(data.response_model))), np.zeros(data.cells)
        own = (self.precision, self.linear, self.share)
        messages(
            data.left, data.right, data.pair, data.weight, alone, *votes, error_variance, *own, of_left, of_right, pairs
        )
        of_prompts, information = of_left - of_right, data.with_diagonal(pairs)
        if self.sittings is not None:
            self._integrate(self.sittings)
            of_prompts += sums(self.sittings.response, self.message, len(of_prompts))
            information += sums(self.sittings.prompt_cell, self.information, data.cells)
        self.sites = Sites(of_prompts, information)

    def _integrate(self, sittings: Sittings) -> None:
        """Make ``information`` = L B, flat, and ``message`` = B h, (R,)."""
        self.information = sittings.laplacian(self.precision[sittings.votes])
        h, self.message = sittings.gradient(self.linear[sittings.votes]), np.empty(len(sittings.response))
        for block in sittings.blocks:
            part = block.of(self.information)
            one = np.eye(part.shape[1])
            b = np.asarray(np.linalg.inv(one + self.error_variance * part), dtype=np.float64)
            part[:] = (one - b) / self.error_variance
            self.message[block.responses] = times(b, h[block.responses])

    def perceived(self, mean: Float, covariance: Float) -> PerceivedGaps:
        """The perceived gaps, given the posterior of the strengths, (R,) and flat."""
        from curate.rankers.hierarchical.kernels import perceive

        data, share = self.data, self.share
        given, given_variance = np.empty((2, len(share)))
        own = (share, self.linear, self.error_variance, given, given_variance)
        perceive(data.left, data.right, data.pair, mean, covariance[data.diagonal], covariance, *own)
        if self.sittings is None:
            return PerceivedGaps(given, given_variance, 0.0, 0.0, np.zeros(0))
        gap, gap_variance = mean[data.left] - mean[data.right], data.gap_variance(covariance)
        known = self.precision * share * data.alone
        residual = (self.linear - self.precision * gap) * share * data.alone
        of_sittings = self._in_sittings(self.sittings, mean, covariance)
        given[self.sittings.votes], given_variance[self.sittings.votes] = of_sittings[:2]
        return PerceivedGaps(
            mean=given,
            variance=given_variance,
            score=of_sittings.score + 2 * float((residual**2 - known + known**2 * gap_variance).sum()),
            information=of_sittings.information + 4 * float((known**2 - 2 * known**3 * gap_variance).sum()),
            squares=of_sittings.squares + data.laplacian(2 * known**2),
        )

    def _in_sittings(self, sittings: Sittings, mean: Float, covariance: Float) -> PerceivedGaps:
        """The perceived gaps of the votes of ``sittings``."""
        e2, score, information = self.error_variance, 0.0, 0.0
        squares = np.empty(sittings.cells)
        strength, own = mean[sittings.response], covariance[sittings.prompt_cell]
        for block in sittings.blocks:
            m, c = block.of(self.information), block.of(own)
            mc = m @ c
            mcm = mc @ m
            residual = self.message[block.responses] - times(m, strength[block.responses])
            block.of(squares)[:] = m @ m
            score += float((residual**2).sum() - np.einsum("bii->", m - mcm))
            information += float((m * (m - 2 * mcm)).sum())
            strength[block.responses] += e2 * residual
            c += e2 * (np.eye(m.shape[1]) - e2 * m - mc - mc.swapaxes(1, 2) + e2 * mcm)
        gap = strength[sittings.left] - strength[sittings.right]
        of_prompts = sums(sittings.prompt_cell, squares, self.data.cells)
        return PerceivedGaps(gap, sittings.gap_variance(own), score, information, of_prompts)

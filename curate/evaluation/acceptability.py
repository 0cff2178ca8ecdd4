"""Acceptability: the probability that an annotator finds a response acceptable, from the outcome ``both_bad``.

Strengths are relative: the best of four bad responses is still bad. ``both_bad`` says that neither response is
acceptable. With a[r] the acceptability of response r, and judgments of two responses independent given these,

    P(both_bad | l, r) = (1 − a[l]) (1 − a[r]),   1 − a[r] ~ Beta(κ b[m], κ (1 − b[m])),

b[m] being the mean over the responses of model m. Other outcomes say that at least one response is acceptable. The
maximum of the posterior is found by expectation maximisation (Dempster, Laird and Rubin, 1977) over which responses
were unacceptable; intervals are normal in log odds, from the expected information. Votes of people who were not offered
``both_bad`` would bias it upwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from curate.array_types import Float
from curate.votes.arrays import BOTH_BAD, VoteArrays
from curate.votes.blocks import vote_data

PRIOR_VOTES = 2.0
"""κ: the prior of a response counts as many votes."""
Z = NormalDist().inv_cdf(0.95)
"""Standard normal quantile of a 90% interval."""
TOLERANCE = 1e-6
MAX_ITER = 2000
LEAST = 1e-9


@dataclass(frozen=True)
class Acceptability:
    """Of R responses; NaN for a response without votes."""

    estimate: Float
    """(R,) 0 … 1, higher is better."""
    low: Float
    """(R,) lower end of the 90% interval: the floor that the votes support."""
    high: Float
    """(R,) upper end."""
    n_iter: int
    converged: bool


def acceptability(votes: VoteArrays, share: float | None = None) -> Acceptability | None:
    """Return the acceptability of each response; None where no vote is ``both_bad``.

    share: of ``both_bad`` among all votes, if these are only some of them; there may then be none.

    Examples
    --------
    >>> votes = VoteArrays.from_columns(
    ...     prompt=["p"] * 9, left=["a"] * 9, right=["b"] * 4 + ["c"] * 5, outcome=["both_bad"] * 4 + ["right"] * 5
    ... )
    >>> acceptability(votes).estimate.round(2).tolist()
    [0.13, 0.1, 0.78]
    """
    bad, weight = votes.outcome == BOTH_BAD, votes.weight
    if share is None:
        if not bad.any():
            return None
        share = float(np.average(bad, weights=weight))
    count = len(votes.responses)
    models = np.where(votes.response_model >= 0, votes.response_model, len(votes.models))

    def sums(of_left: Float, of_right: Float) -> Float:
        total = np.bincount(votes.left, of_left, count) + np.bincount(votes.right, of_right, count)
        return total.astype(np.float64)

    cast, b = sums(weight, weight), np.full(count, np.sqrt(share))
    prior, n_iter, converged = b, 0, False
    while n_iter < MAX_ITER and not converged:
        n_iter += 1
        left, right = b[votes.left], b[votes.right]
        one_good = np.maximum(1 - left * right, LEAST)
        expected = sums(
            weight * np.where(bad, 1.0, left * (1 - right) / one_good),
            weight * np.where(bad, 1.0, right * (1 - left) / one_good),
        )
        pooled = np.bincount(models, expected) + PRIOR_VOTES * np.sqrt(share)
        prior = (pooled / (np.bincount(models, cast) + PRIOR_VOTES))[models]
        new = (expected + PRIOR_VOTES * prior) / (cast + PRIOR_VOTES)
        converged = bool(np.abs(new - b).max() < TOLERANCE)
        b = np.clip(new, LEAST, 1 - LEAST)
    # Fisher's information on the log odds of b: of a vote, p / (1 − p) (1 − bᵢ) (1 − bⱼ) with p = bₗ bᵣ
    data = vote_data(votes)
    left, right = b[votes.left], b[votes.right]
    factor = weight * left * right / np.maximum(1 - left * right, LEAST)
    information = np.zeros(data.cells)
    cells = (data.diagonal[votes.left], data.diagonal[votes.right], data.pair)
    for cell, i, j in zip(cells, (left, right, left), (left, right, right), strict=True):
        information += np.bincount(cell, factor * (1 - i) * (1 - j), data.cells)
    for block in data.blocks:
        matrix = block.of(information)
        matrix += np.triu(matrix.swapaxes(1, 2), 1) + np.tril(matrix.swapaxes(1, 2), -1)
    information[data.diagonal] += PRIOR_VOTES * prior * (1 - prior)
    error = np.sqrt(data.inverse(information)[data.diagonal])
    unseen = cast == 0
    odds = np.log((1 - b) / b)
    estimate, low, high = (
        np.where(unseen, np.nan, 1 / (1 + np.exp(-value))) for value in (odds, odds - Z * error, odds + Z * error)
    )
    return Acceptability(estimate, low, high, n_iter, converged)

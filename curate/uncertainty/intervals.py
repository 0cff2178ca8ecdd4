"""Rank intervals from the normal posterior of strengths or from draws of ranks, and the expected Kendall tau."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.array_types import Float, Index
from curate.rankers.base import TIE_DECIMALS, blocks
from curate.votes.arrays import VoteArrays

LEVEL = 0.9
"""Probability that a rank lies in its interval."""
DRAWS = 400
"""Draws from each prompt's posterior, from the same standard normals for all prompts. The probability outside an end of
an interval has a standard error of about .01."""


MAX_COMPARED = 64
"""Responses up to which ranks are counted by comparing all pairs; sorting is faster above."""


class RankIntervals(NamedTuple):
    """The central interval of each response's rank within its connected component, 1 = best."""

    best: Index
    """(R,)"""
    worst: Index
    """(R,)"""


def rank_intervals(
    votes: VoteArrays,
    strength: Float,
    covariance: tuple[Float, ...],
    component: Index,
    *,
    level: float = LEVEL,
    copies: Index | None = None,
) -> RankIntervals:
    """Return the central interval that holds each response's rank with probability ``level``.

    strength: (R,) logits. covariance: (B, N, N) of each batch of ``votes.graphs``, logits². component: (R,) labels
    within which ranks are counted. copies: (R,) number of ranks that a response occupies; 1 by default.
    """
    copies = np.ones(len(strength), dtype=np.int64) if copies is None else copies
    best, worst = np.ones(len(strength), dtype=np.int64), np.ones(len(strength), dtype=np.int64)
    tail = (1 - level) / 2 * DRAWS
    for graphs, matrices in zip(votes.graphs, covariance, strict=True):
        n = graphs.slots.shape[1]
        normal = np.random.default_rng(0).standard_normal((n, DRAWS // 2))
        normal = np.concatenate([normal, -normal], axis=1)
        jitter = 1e-12 * np.trace(matrices, axis1=1, axis2=2)[:, None, None] * np.eye(n)
        root = np.linalg.cholesky(matrices + jitter)
        for rows in blocks(len(graphs.slots), 2 * DRAWS):
            slots = graphs.slots[rows]
            counts = rank_counts(strength[slots], root[rows], normal, component[slots], copies[slots])
            below = np.cumsum(counts, axis=2)  # (b, N, K) draws at this rank or better
            best[slots] = 1 + (below <= tail).sum(axis=2)
            worst[slots] = 1 + (below < DRAWS - tail).sum(axis=2)
    return RankIntervals(best, worst)


def percentile_intervals(best: Index, worst: Index, level: float = LEVEL) -> RankIntervals:
    """Return the percentile interval of each response's rank: it holds at least ``level`` of the draws.

    best, worst: (draws, R) ranks; they differ where responses tie. The two tails that are excluded have equal shares.

    >>> draws = np.array([[1, 2], [1, 2], [1, 2], [2, 1]])
    >>> intervals = percentile_intervals(draws, draws, level=0.5)
    >>> intervals.best.tolist(), intervals.worst.tolist()
    ([1, 1], [1, 2])
    """
    tail = (1 - level) / 2
    low, high = (
        np.quantile(draws, at, axis=0, method="inverted_cdf").astype(np.int64)
        for draws, at in ((best, tail), (worst, 1 - tail))
    )
    return RankIntervals(low, high)


def rank_counts(mean: Float, root: Float, normal: Float, component: Index, copies: Index) -> Index:
    """Return (B, N, K) the number of draws in which response i has rank k + 1 within its component, K ranks in all.

    mean: (B, N); root: (B, N, N) Cholesky factor of the covariance; normal: (N, S) standard normals for all prompts;
    copies: (B, N) number of ranks that a response occupies, of which its own is the best.
    """
    batch, n = mean.shape
    last = int(copies.sum(axis=1).max(initial=0))
    each = copies.T[:, :, None].astype(np.int16)  # (N, B, 1)
    theta = (mean[:, :, None] + root @ normal).swapaxes(0, 1)  # (N, B, S)
    row = np.arange(batch * n).reshape(batch, n).T[:, :, None]
    if n > MAX_COMPARED:
        better = _ahead(theta, component.T, copies.T)
        return np.bincount((row * last + better).ravel(), minlength=batch * n * last).reshape(batch, n, last)
    ahead = np.zeros(theta.shape, dtype=np.int16)  # responses of the component that are better in the draw
    for i in range(n):
        for j in range(i):
            same = (component[:, i] == component[:, j])[:, None]
            j_wins = theta[j] > theta[i]
            ahead[i] += (j_wins & same) * each[j]
            ahead[j] += (~j_wins & same) * each[i]
    return np.bincount((row * last + ahead).ravel(), minlength=batch * n * last).reshape(batch, n, last)


def _ahead(theta: Float, component: Index, copies: Index) -> Index:
    """Return (N, B, S) the ranks that better responses of the same component occupy in each draw, by sorting.

    theta: (N, B, S) draws. component, copies: (N, B).
    """
    labels, each = (np.broadcast_to(of[:, :, None], theta.shape) for of in (component, copies))
    worst_first = np.lexsort((theta, labels), axis=0)
    occupied = np.empty_like(worst_first)  # by the responses up to each, itself included
    np.put_along_axis(occupied, worst_first, np.cumsum(np.take_along_axis(each, worst_first, axis=0), axis=0), axis=0)
    upto = np.einsum("jib,jb->ib", component[:, None] <= component[None], copies)  # (N, B) by components up to its own
    ahead: Index = upto[:, :, None] - occupied
    return ahead


def expected_tau(votes: VoteArrays, scores: Float, strength: Float, covariance: tuple[Float, ...]) -> Float:
    """Return (P,) the posterior expectation of Kendall's tau between the order of scores and the true order.

    A pair contributes P(its order is right) − P(it is wrong), and 0 if the scores tie; NaN below two responses.
    scores, strength: (R,). covariance: (B, N, N) of each batch of ``votes.graphs``.
    """
    from scipy.special import ndtr

    tau = np.full(len(votes.prompts), np.nan)
    for graphs, matrices in zip(votes.graphs, covariance, strict=True):
        i, j = np.triu_indices(graphs.slots.shape[1], 1)
        if not len(i):
            continue
        mean, score = strength[graphs.slots], np.round(scores, TIE_DECIMALS)[graphs.slots]
        diagonal = np.diagonal(matrices, axis1=1, axis2=2)
        variance = diagonal[:, i] + diagonal[:, j] - 2 * matrices[:, i, j]  # (B, pairs)
        certainty = 2 * ndtr((mean[:, i] - mean[:, j]) / np.sqrt(np.maximum(variance, 1e-300))) - 1
        tau[graphs.prompts] = (np.sign(score[:, i] - score[:, j]) * certainty).mean(axis=1)
    return tau

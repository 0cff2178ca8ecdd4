"""How certain a ranking is, from the normal posterior of strengths: intervals of ranks, and the expected tau."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.rankers.base import TIE_DECIMALS
from curate.votes.arrays import VoteArrays

LEVEL = 0.9
"""Chance that a rank lies in its interval."""
DRAWS = 400
"""From the posterior of each prompt, the same standard normals for all: an interval's ends are good to about a rank's
twentieth of probability."""

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]


def rank_intervals(
    votes: VoteArrays, strength: Float, covariance: tuple[Float, ...], component: Int
) -> tuple[Int, Int]:
    """(R,) best and (R,) worst rank of the central interval in which each response's rank lies with chance LEVEL.

    strength: (R,). covariance: (B, N, N) of each batch of ``votes.graphs``. component: (R,) ranks are counted within
    it, 1 = best.
    """
    low, high = np.ones(len(strength), dtype=np.int64), np.ones(len(strength), dtype=np.int64)
    tail = (1 - LEVEL) / 2 * DRAWS
    for graphs, matrices in zip(votes.graphs, covariance, strict=True):
        n = graphs.slots.shape[1]
        normal = np.random.default_rng(0).standard_normal((n, DRAWS // 2))
        root = np.linalg.cholesky(matrices + 1e-12 * np.trace(matrices, axis1=1, axis2=2)[:, None, None] * np.eye(n))
        counts = rank_counts(
            strength[graphs.slots],
            root,
            np.concatenate([normal, -normal], axis=1),
            component[graphs.slots].astype(np.int64),
        )
        below = np.cumsum(counts, axis=2)  # (B, N, N) draws at this rank or better
        low[graphs.slots] = 1 + (below <= tail).sum(axis=2)
        high[graphs.slots] = 1 + (below < DRAWS - tail).sum(axis=2)
    return low, high


@compiled
def rank_counts(mean: Float, root: Float, normal: Float, component: Int) -> Counts:
    """(B, N, N) how many draws put response i at rank k + 1 within its component.

    mean: (B, N); root: (B, N, N) Cholesky's of the covariance; normal: (N, S) standard normals, used for all prompts.
    """
    batch, n = mean.shape
    draws = normal.shape[1]
    counts = np.zeros((batch, n, n), dtype=np.int32)
    theta, better = np.empty((n, draws)), np.empty((n, draws))
    for b in range(batch):  # the draws are the innermost loop: processors take several at a time
        for i in range(n):
            at, ahead = theta[i], better[i]
            for s in range(draws):
                at[s], ahead[s] = mean[b, i], 0.0
            for k in range(i + 1):
                part, drawn = root[b, i, k], normal[k]
                for s in range(draws):
                    at[s] += part * drawn[s]
        for i in range(n):
            for j in range(i):
                if component[b, i] == component[b, j]:
                    one, other, ahead_one, ahead_other = theta[i], theta[j], better[i], better[j]
                    for s in range(draws):
                        wins = 1.0 if other[s] > one[s] else 0.0
                        ahead_one[s] += wins
                        ahead_other[s] += 1.0 - wins
        for i in range(n):
            for s in range(draws):
                counts[b, i, int(better[i, s])] += 1
    return counts


def expected_tau(votes: VoteArrays, scores: Float, strength: Float, covariance: tuple[Float, ...]) -> Float:
    """(P,) expected Kendall tau between the order of scores and the true one, by the posterior; NaN below 2 responses.

    A pair counts P(its order is right) − P(it is wrong), and 0 where the scores tie. scores, strength: (R,).
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
        certain = 2 * ndtr((mean[:, i] - mean[:, j]) / np.sqrt(np.maximum(variance, 1e-300))) - 1
        tau[graphs.prompts] = (np.sign(score[:, i] - score[:, j]) * certain).mean(axis=1)
    return tau

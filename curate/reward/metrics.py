"""How well scores order the responses of each item: top-1, pairs, tau, calibration, sensitivity to the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.array_types import Bool, Float, Index
from schemas.errors import CurateError

Scores = Sequence[npt.ArrayLike]
"""I items, each (N,) scores of its responses, higher is better; N may differ between items."""
Ranks = Sequence[Sequence[int]]
"""I items, each (N,) ranks; 1 is best, equal responses share a rank."""

BINS = 10
"""Most bins of the calibration error."""


def top1(scores: Scores, ranks: Ranks) -> Float:
    """(I,) share of the highest-scored responses that have the best rank: 0 or 1, or between where scores tie."""
    hits = np.empty(len(scores))
    for rows, score, rank in _batches(scores, ranks):
        highest = score == score.max(axis=1, keepdims=True)
        hits[rows] = (highest & _best(rank)).sum(axis=1) / highest.sum(axis=1)
    return hits


def chance_level(ranks: Ranks) -> Float:
    """(I,) expected ``top1`` of random guessing: the share of responses that have the best rank."""
    return top1([np.zeros(len(rank)) for rank in ranks], ranks)


def pairwise(scores: Scores, ranks: Ranks) -> tuple[Float, Index]:
    """(I,) correctly ordered pairs and (I,) pairs with different ranks; a pair of equal scores counts half.

    Their quotient is the accuracy of an item; the quotient of their sums is the pooled accuracy.
    """
    right, pairs = np.empty(len(scores)), np.empty(len(scores), dtype=np.int64)
    for rows, score, rank in _batches(scores, ranks):
        ahead, better = _signs(score), _signs(-rank)
        pairs[rows] = (better != 0).sum(axis=(1, 2)) // 2
        right[rows] = (pairs[rows] + (ahead * better).sum(axis=(1, 2)) / 2) / 2
    return right, pairs


def kendall(scores: Scores, ranks: Ranks) -> Float:
    """(I,) Kendall's tau-b of scores and ranks; 1 is the same order; NaN where either consists of ties only.

    Concordant minus discordant pairs, divided by the geometric mean of the numbers of untied pairs (Kendall, 1945).
    """
    tau = np.empty(len(scores))
    for rows, score, rank in _batches(scores, ranks):
        ahead, better = _signs(score), _signs(-rank)
        untied = (ahead != 0).sum(axis=(1, 2)) * (better != 0).sum(axis=(1, 2))
        together = (ahead * better).sum(axis=(1, 2))
        tau[rows] = np.where(untied > 0, together / np.sqrt(np.maximum(untied, 1)), np.nan)
    return tau


@dataclass(frozen=True)
class Confidences:
    """Softmax probabilities of the best response of each item; NaN where the best rank is shared."""

    top: Float
    """(I,) highest probability."""
    hit: Float
    """(I,) ``top1`` of each item."""
    nll: Float
    """(I,) negative log probability of the best response, nats; lower is better."""
    brier: Float
    """(I,) squared distance of the probabilities from the one-hot best response, 0 to 2; lower is better."""


def confidences(scores: Scores, ranks: Ranks) -> Confidences:
    """Softmax probabilities of each item's best response, with the scores as logits."""
    top, nll, brier = (np.full(len(scores), np.nan) for _ in range(3))
    for rows, score, rank in _batches(scores, ranks):
        log = score - score.max(axis=1, keepdims=True)
        log -= np.log(np.exp(log).sum(axis=1, keepdims=True))
        best = _best(rank)
        single = best.sum(axis=1) == 1
        one = rows[single]
        top[one] = np.exp(log[single].max(axis=1))
        nll[one] = -log[single][best[single]]
        brier[one] = ((np.exp(log[single]) - best[single]) ** 2).sum(axis=1)
    hit = np.where(np.isfinite(top), top1(scores, ranks), np.nan)
    return Confidences(top, hit, nll, brier)


def calibration_error(top: Float, hit: Float, bins: int = BINS) -> tuple[float, int]:
    """Expected calibration error over bins of equal mass, and the number of bins (at most one per item).

    top, hit: of ``Confidences``. Not debiased: with few items per bin it is above 0 for a calibrated scorer too
    (Roelofs et al., 2022). Items of equal confidence share the mean of their hits, so that their order does not matter.
    """
    top, hit = top[np.isfinite(top)], hit[np.isfinite(top)]
    if len(top) == 0:
        return np.nan, 0
    levels, level = np.unique(top, return_inverse=True)
    shared = np.bincount(level, hit) / np.bincount(level)
    order = np.sort(level)
    gaps = np.array_split(levels[order] - shared[order], min(bins, len(top)))
    return float(sum(abs(gap.sum()) for gap in gaps) / len(top)), len(gaps)


def winner_changes(orders: Sequence[npt.ArrayLike]) -> Float:
    """(I,) 1 where the winner differs between K orders, else 0. orders: I items, each (K, N) in original columns."""
    winners = [np.asarray(scores).argmax(axis=1) for scores in orders]
    return np.array([float((own != own[0]).any()) for own in winners])


def score_differences(orders: Sequence[npt.ArrayLike]) -> Float:
    """(I,) mean absolute difference of a score between two of K ≥ 2 orders. orders: I items, each (K, N)."""
    means = np.empty(len(orders))
    for item, scores in enumerate(orders):
        ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=0)
        k = len(ordered)
        # Sorted, x[i] is the larger one in i pairs and the smaller one in k − 1 − i pairs.
        times = 2 * np.arange(k) - (k - 1)
        means[item] = (times @ ordered).mean() / (k * (k - 1) / 2)
    return means


def _best(rank: Index) -> Bool:
    """(I, N) bool: the rank is the best of the item."""
    best: Bool = rank == rank.min(axis=1, keepdims=True)
    return best


def _signs(values: Float | Index) -> Float:
    """(I, N, N) sign of value i minus value j. values: (I, N)."""
    signs: Float = np.sign(values[:, :, None] - values[:, None, :]).astype(np.float64)
    return signs


def _batches(scores: Scores, ranks: Ranks) -> Iterator[tuple[Index, Float, Index]]:
    """For each N that occurs: (I,) rows of its items, (I, N) their scores and (I, N) their ranks.

    Raises CurateError where scores and ranks differ in number, or a score is not finite.
    """
    if len(scores) != len(ranks):
        raise CurateError(f"{len(scores)} items have scores and {len(ranks)} have ranks: they must be the same items")
    arrays = [np.asarray(score, dtype=np.float64) for score in scores]
    for item, (score, rank) in enumerate(zip(arrays, ranks, strict=True)):
        if score.shape != (len(rank),) or len(rank) == 0:
            raise CurateError(f"item {item} (from 0): scores of shape {score.shape} for {len(rank)} ranks")
        if not np.isfinite(score).all():
            raise CurateError(f"item {item} (from 0): scores {score.tolist()} are not all finite")
    sizes = np.array([len(score) for score in arrays])
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        yield rows, np.stack([arrays[i] for i in rows]), np.array([ranks[i] for i in rows.tolist()], dtype=np.int64)

"""Agreement of two orders, and of an order with a known truth, for all prompts at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curate.array_types import Bool, Float, Index
from curate.rankers.base import TIE_DECIMALS


def kendall_tau(a: Float, b: Float, offsets: Index) -> Float:
    """(P,) Kendall's tau-b between two scores of each prompt's responses; NaN where either ranks all of them equal.

    a, b: (R,) scores; equal to 9 decimals is a tie. offsets: (P + 1,) the first response of each prompt.
    Kendall, "The treatment of ties in ranking problems", 1945.
    """
    tau = np.full(len(offsets) - 1, np.nan)
    for prompts, slots in by_size(offsets):
        first, second = _signs(a[slots]), _signs(b[slots])
        both = np.einsum("bij,bij->b", first, second)
        untied = (first != 0).sum(axis=(1, 2)) * (second != 0).sum(axis=(1, 2))
        tau[prompts] = np.where(untied > 0, both / np.sqrt(np.maximum(untied, 1)), np.nan)
    return tau


def top1(scores: Float, truth: Float, offsets: Index) -> Float:
    """(P,) chance that the first by scores, equals drawn at random, is truly best; NaN for a prompt without responses.

    scores, truth: (R,) higher is better. Where several are truly best, any of them will do.
    """
    share = np.full(len(offsets) - 1, np.nan)
    for prompts, slots in by_size(offsets):
        first, best = _first(scores[slots]), _first(truth[slots])
        share[prompts] = (first & best).sum(axis=1) / first.sum(axis=1)
    return share


def best_of(scores: Float, truth: Float, offsets: Index, *, k: int = 4) -> Float:
    """(P,) chance that, of k random responses of a prompt, the best by scores is truly their best; NaN below k.

    Exact, by counting: response i is best of its subset in both ways when the other k − 1 are no better than i in
    either; t of them equal to i by scores make its share 1 / (t + 1).
    scores, truth: (R,) higher is better; equal to 9 decimals is a tie, drawn at random in scores, all right in truth.
    """
    chance = np.full(len(offsets) - 1, np.nan)
    for prompts, slots in by_size(offsets):
        n = slots.shape[1]
        if n < k:
            continue
        by_score, by_truth = _signs(scores[slots]), _signs(truth[slots])  # (B, N, N) above 0 where i is better than j
        beaten = ((by_score > 0) & (by_truth >= 0)).sum(axis=2)  # (B, N)
        equal = ((by_score == 0) & (by_truth >= 0)).sum(axis=2) - 1  # (B, N) without i itself
        choose = _binomials(n, k)
        right = sum(choose[equal, t] * choose[beaten, k - 1 - t] / (t + 1) for t in range(k))
        chance[prompts] = np.sum(right, axis=1) / choose[n, k]
    return chance


def by_size(offsets: Index) -> Iterator[tuple[Index, Index]]:
    """(B,) prompts and (B, N) their responses, for each number of responses N ≥ 1, smallest first."""
    size = np.diff(offsets)
    for n in np.unique(size[size > 0]):
        prompts = np.flatnonzero(size == n)
        yield prompts, offsets[prompts, None] + np.arange(n)


def _signs(scores: Float) -> Float:
    """(B, N, N) 1 where i scores above j, 0 where they tie, −1 below."""
    rounded = np.round(scores, TIE_DECIMALS)
    signs: Float = np.sign(rounded[:, :, None] - rounded[:, None, :])
    return signs


def _first(scores: Float) -> Bool:
    """(B, N) who has the highest score, ties included."""
    rounded = np.round(scores, TIE_DECIMALS)
    first: Bool = rounded == rounded.max(axis=1, keepdims=True)
    return first


def _binomials(n: int, k: int) -> Float:
    """(n + 1, k + 1) ways to choose column from row, by Pascal's triangle."""
    ways = np.zeros((n + 1, k + 1))
    ways[:, 0] = 1
    for row in range(1, n + 1):
        ways[row, 1:] = ways[row - 1, 1:] + ways[row - 1, :-1]
    return ways

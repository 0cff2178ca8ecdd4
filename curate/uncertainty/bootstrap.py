"""Bootstrap rank intervals of any ranker: annotators are resampled with replacement, and every sample is ranked.

Annotators are resampled because the votes of one are dependent; the votes of anonymous people are resampled by K-wise
ranking or one by one, and so are those of a prompt with fewer than FEW annotators (with one annotator, all samples
would be equal). An annotator drawn twice has votes of twice the weight (Efron and Tibshirani, "An introduction to the
bootstrap", 1993, chapter 8). A response that loses all its votes gets the rank of a response without votes.

Samples are not ranked one after another: they are stacked as further prompts of one VoteArrays, each with its own
annotators, and the ranker runs once for many of them. That is valid for every ranker that treats prompts independently,
and for ``weighted-feedback-arc-set`` but for its prior, the accuracy of all votes together, which is then that of all
samples in a stack. Rankers that pool prompts (``RankerSpec.pools_prompts``) run once per sample.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Ranker, ranks
from curate.votes.arrays import VoteArrays

Int = npt.NDArray[np.int64]

FEW = 5
"""Annotators of a prompt below which its votes are drawn instead of them."""
CHUNK = 2_000_000
"""Votes, or pairs of responses where they are more, that are ranked at a time."""


def rank_draws(
    votes: VoteArrays,
    ranker: Ranker,
    *,
    group: npt.NDArray[np.integer[Any]],
    pools: bool = True,
    draws: int = 100,
    seed: int,
) -> Int:
    """(draws, R) rank of each response in each draw, 1 = best, equals share the best of their ranks.

    group: (R,) labels from 0; ranks are counted within them. pools: the ranker learns about a prompt from others
    (``RankerSpec.pools_prompts``), so that each draw is ranked alone.
    """
    cluster = clusters(votes)
    number = int(cluster.max(initial=-1)) + 1
    cells = int((np.diff(votes.offsets) ** 2).sum())
    at_once = 1 if pools else max(1, CHUNK // max(len(votes.left), cells, 1))
    rng = np.random.default_rng(seed)
    labels = int(group.max(initial=-1)) + 1
    found = []
    for start in range(0, draws, at_once):
        rows = min(at_once, draws - start)
        times = np.stack([np.bincount(rng.integers(0, max(number, 1), number), minlength=number) for _ in range(rows)])
        scores = ranker(stacked(votes, times[:, cluster])).scores
        of_draw = (np.arange(rows)[:, None] * labels + group).ravel()
        found.append(ranks(scores, of_draw).reshape(rows, -1))
    return np.concatenate(found) if found else np.zeros((0, len(votes.responses)), dtype=np.int64)


def rank_interval(draws: Int, level: float = 0.9) -> tuple[Int, Int]:
    """(R,) the best and (R,) the worst rank of an interval that holds at least this share of the draws.

    draws: (draws, R) ranks. As much is left out at either end, so that the interval is that of the percentiles.

    >>> low, high = rank_interval(np.array([[1, 2], [1, 2], [1, 2], [2, 1]]), level=0.5)
    >>> low.tolist(), high.tolist()
    ([1, 1], [1, 2])
    """
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0, method="inverted_cdf").astype(np.int64)
    return low, high


def clusters(votes: VoteArrays) -> Int:
    """(V,) 0 … C − 1: votes with the same number are drawn together."""
    people, count = len(votes.annotators), len(votes.left)
    prompt = votes.response_prompt[votes.left].astype(np.int64)
    judged = np.unique(prompt[votes.annotator >= 0] * max(people, 1) + votes.annotator[votes.annotator >= 0])
    judges = np.bincount(judged // max(people, 1), minlength=len(votes.prompts))
    named = (votes.annotator >= 0) & (judges[prompt] >= FEW)
    alone = people + np.where(votes.group >= 0, votes.group, int(votes.group.max(initial=-1)) + 1 + np.arange(count))
    number: Int = np.unique(np.where(named, votes.annotator, alone), return_inverse=True)[1].astype(np.int64)
    return number


def stacked(votes: VoteArrays, times: Int) -> VoteArrays:
    """B draws as one: prompts, responses, K-wise rankings and annotators of draw b stand b times their number later.

    times: (B, V) how often each vote was drawn; 0 leaves it out. Models are those of all draws, names are repeated.
    """
    rows = len(times)
    draw, vote = np.nonzero(times)
    responses, prompts, people = len(votes.responses), len(votes.prompts), len(votes.annotators)
    groups = int(votes.group.max(initial=-1)) + 1

    def moved(number: npt.NDArray[np.int32], by: int) -> npt.NDArray[np.int32]:
        return np.where(number[vote] < 0, -1, number[vote] + draw * by).astype(np.int32)

    of_prompt = np.arange(rows)[:, None] * prompts + votes.response_prompt
    return replace(
        votes,
        left=moved(votes.left, responses),
        right=moved(votes.right, responses),
        outcome=votes.outcome[vote],
        weight=votes.weight[vote] * times[draw, vote],
        sides_known=votes.sides_known[vote],
        annotator=moved(votes.annotator, people),
        group=moved(votes.group, groups),
        response_prompt=of_prompt.ravel().astype(np.int32),
        response_model=np.tile(votes.response_model, rows),
        prompts=votes.prompts * rows,
        responses=votes.responses * rows,
        annotators=votes.annotators * rows,
    )

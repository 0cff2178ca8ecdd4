"""Bootstrap rank intervals of any ranker: annotators are resampled with replacement, and every sample is ranked.

Each is drawn a Poisson(1) number of times (Hanley and MacGibbon, "Creating non-parametric bootstrap samples using
Poisson frequencies", 2006), so that an only one is missing in some samples, too.

Annotators are resampled because the votes of one are dependent; the votes of anonymous people are resampled by K-wise
ranking or one by one, and so are those of a prompt with fewer than FEW annotators (with one annotator, all samples
would be equal). An annotator drawn twice has votes of twice the weight (Efron and Tibshirani, "An introduction to the
bootstrap", 1993, chapter 8). A response that loses all its votes gets the rank of a response without votes, and
responses that tie in a sample each occupy all ranks of the tie: a sample without the only ranking of a prompt tells
nothing of its order.

Votes that are resampled one by one may depend on each other: given their overdispersion factor, of the drawn ones a
share of 1 / factor is kept, with the weight ``factor``, so that sums of weights have a variance larger by the factor.

Samples are not ranked one after another: they are stacked as further prompts of one VoteArrays, each with its own
annotators, and the ranker runs once for many of them. That is valid for every ranker that treats prompts independently,
and for ``weighted-feedback-arc-set`` but for its prior, the accuracy of all votes together, which is then that of all
samples in a stack. Rankers that pool prompts (``RankerSpec.pools_prompts``) run once per sample.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from curate.array_types import Float, Index, Int32
from curate.rankers.base import Labels, Ranker, tied_ranks
from curate.votes.arrays import VoteArrays

if TYPE_CHECKING:
    from scipy import sparse

FEW = 5
"""Annotators of a prompt below which its votes are resampled instead of them."""
CHUNK = 2_000_000
"""Votes, or pairs of responses if they are more, that are ranked at a time."""


def bootstrap_ranks(
    votes: VoteArrays,
    ranker: Ranker,
    *,
    group: Labels,
    text: Index | None = None,
    pools: bool = True,
    annotators: bool = True,
    draws: int = 100,
    overdispersion: float = 1.0,
    seed: int,
) -> Index:
    """Return (2, draws, R') the best and the worst rank of each response in each sample, 1 = best; they differ in ties.

    group: (R,) labels from 0 within which ranks are counted. text: (R',) which of the R each response to be ranked
    stands for; by default R' = R. pools: ``RankerSpec.pools_prompts``; each sample is then ranked separately.
    annotators: ``RankerSpec.needs_annotators``; without, equal votes of a sample become one of their weight, unless
    some share a K-wise ranking. overdispersion: factor of at least 1.
    """
    text = np.arange(len(votes.responses)) if text is None else text
    unit = resampling_units(votes)
    units = int(unit.max(initial=-1)) + 1
    dependent = np.bincount(unit, minlength=units) == 1 if overdispersion > 1 else np.zeros(units, dtype=np.bool_)
    shares: sparse.csr_array | None = None
    if not annotators and (votes.group < 0).all():
        votes, shares = merge_equal(votes, unit, units)
    cells = int((np.diff(votes.offsets) ** 2).sum())
    at_once = 1 if pools else max(1, CHUNK // max(len(votes.left), cells, 1))
    rng = np.random.default_rng(seed)
    labels = int(group.max(initial=-1)) + 1
    found = []
    for start in range(0, draws, at_once):
        rows = min(at_once, draws - start)
        times = rng.poisson(1.0, (rows, units))
        weight = times.astype(np.float64)
        if dependent.any():
            weight[:, dependent] = overdispersion * rng.binomial(times[:, dependent], 1 / overdispersion)
        weight = weight[:, unit] if shares is None else (shares.T @ weight.T).T
        scores = ranker(stack_samples(votes, weight)).scores.reshape(rows, -1)[:, text]
        of_sample = np.arange(rows)[:, None] * labels + group[text]
        found.append(np.stack(tied_ranks(scores.ravel(), of_sample.ravel())).reshape(2, rows, -1))
    return np.concatenate(found, axis=1) if found else np.zeros((2, 0, len(text)), dtype=np.int64)


def resampling_units(votes: VoteArrays) -> Index:
    """Return (V,) 0 … C − 1: votes with the same number are resampled together."""
    people, count = len(votes.annotators), len(votes.left)
    named = votes.annotator >= 0
    prompt = votes.response_prompt[votes.left].astype(np.int64)
    pairs = np.unique(prompt[named] * max(people, 1) + votes.annotator[named])  # distinct (prompt, annotator)
    annotators = np.bincount(pairs // max(people, 1), minlength=len(votes.prompts))  # (P,)
    by_annotator = named & (annotators[prompt] >= FEW)
    single = int(votes.group.max(initial=-1)) + 1 + np.arange(count)
    otherwise = people + np.where(votes.group >= 0, votes.group, single)
    unit: Index = np.unique(np.where(by_annotator, votes.annotator, otherwise), return_inverse=True)[1].astype(np.int64)
    return unit


def merge_equal(votes: VoteArrays, unit: Index, units: int) -> tuple[VoteArrays, sparse.csr_array]:
    """Return one anonymous vote of weight 1 for each kind of vote, and the (units, kinds) weight of each unit's votes.

    Votes of one kind have the same responses, sides and outcome. unit: (V,) 0 … units − 1.
    """
    from scipy.sparse import coo_array

    side = (votes.outcome.astype(np.int64) * 2 + votes.sides_known) * len(votes.responses)
    key = (side + votes.left) * len(votes.responses) + votes.right
    _, first, kind = np.unique(key, return_index=True, return_inverse=True)
    shares = coo_array((votes.weight, (unit, kind)), shape=(units, len(first))).tocsr()
    kinds = votes.of_votes(first)
    return replace(kinds, weight=np.ones(len(first)), annotator=np.full(len(first), -1, dtype=np.int32)), shares


def stack_samples(votes: VoteArrays, times: Index | Float) -> VoteArrays:
    """Return B samples as one: prompts, responses, K-wise rankings and annotators are renumbered per sample.

    Numbers of sample b are shifted by b times their count. Models are shared by all samples; names are repeated. times:
    (B, V) how often each vote was drawn, or the factor of its weight.
    """
    rows = len(times)
    sample, vote = np.nonzero(times)
    responses, prompts, people = len(votes.responses), len(votes.prompts), len(votes.annotators)
    groups = int(votes.group.max(initial=-1)) + 1

    def shifted(number: Int32, by: int) -> Int32:
        return np.where(number[vote] < 0, -1, number[vote] + sample * by).astype(np.int32)

    response_prompt = np.arange(rows)[:, None] * prompts + votes.response_prompt
    return replace(
        votes,
        left=shifted(votes.left, responses),
        right=shifted(votes.right, responses),
        outcome=votes.outcome[vote],
        weight=votes.weight[vote] * times[sample, vote],
        sides_known=votes.sides_known[vote],
        annotator=shifted(votes.annotator, people),
        group=shifted(votes.group, groups),
        response_prompt=response_prompt.ravel().astype(np.int32),
        response_model=np.tile(votes.response_model, rows),
        prompts=votes.prompts * rows,
        responses=votes.responses * rows,
        annotators=votes.annotators * rows,
    )

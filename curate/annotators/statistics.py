"""How each annotator votes, beside the others; and Krippendorff's alpha.

Each anonymous vote is taken for a person of its own. The pairs of a K-wise ranking weigh K − 1 votes together, as they
do in the joint fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.rankers.hierarchical import HierarchicalFit
from curate.votes.arrays import BOTH_BAD, LEFT, RIGHT, TIE, VoteArrays

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

ROUNDING = 1e-9
"""A majority by less than this share of a pair's weight is a sum's rounding, and none."""
SPAM = 0.25
"""A spammer sees less than this share of what the mean annotator sees."""
LOW = 0.5
"""Who sees less than this share is to be trained: four of their votes tell less than one of the mean annotator's."""


@dataclass(frozen=True)
class Profiles:
    """What is known of A annotators; NaN where nothing is. Standard errors are of the posterior in the joint fit."""

    votes: Float
    """(A,) how many they cast; a ranking of K counts as K − 1."""
    agreement: Float
    """(A,) share of their weight that goes with the majority of the others, 0 … 1."""
    compared: Index
    """(A,) votes that this share rests on."""
    discrimination: Float
    """(A,) at least 0; 1 is the mean. Near 0: votes without looking."""
    discrimination_se: Float
    left_bias: Float
    """(A,) advantage of the response shown left, logits; NaN where no side is known."""
    left_bias_se: Float
    sided: Index
    """(A,) votes for a response where sides are known."""
    lefts: Index
    """(A,) of these, votes for the left one."""
    tie_share: Float
    """(A,) share of ties on equals, as fitted; both_bad counts as a tie."""
    tie_excess: Float
    """(A,) log odds of their ties on equals above those of the mean annotator, side bias left aside."""
    tie_excess_se: Float
    spammer: Float
    """(A,) probability that they are one (spam_probability)."""
    low: Float
    """(A,) probability that their discrimination is below LOW × the mean one."""


def profiles(votes: VoteArrays, fit: HierarchicalFit) -> Profiles:
    """The annotators of the votes. fit: of these votes, with Davidson's ties (their parameter is log odds)."""
    agreement, compared = agreement_with_others(votes)
    people = fit.annotators
    discrimination_se, left_bias_se, tie_se = np.sqrt(people.variance[:-1]).T
    sided = people.sided[:-1] > 0
    named = votes.annotator >= 0
    decided = named & votes.sides_known & np.isin(votes.outcome, [LEFT, RIGHT])
    lefts = decided & (votes.outcome == LEFT)
    return Profiles(
        votes=np.bincount(votes.annotator[named], votes.group_share[named], len(votes.annotators)).astype(np.float64),
        agreement=agreement,
        compared=compared,
        discrimination=fit.discrimination,
        discrimination_se=discrimination_se,
        left_bias=np.where(sided, fit.left_bias, np.nan),
        left_bias_se=np.where(sided, left_bias_se, np.nan),
        sided=np.bincount(votes.annotator[decided], minlength=len(votes.annotators)),
        lefts=np.bincount(votes.annotator[lefts], minlength=len(votes.annotators)),
        tie_share=fit.tie_share if people.has_ties else np.zeros_like(fit.tie_share),
        tie_excess=people.tie[:-1] - people.prior_mean[-1],
        tie_excess_se=tie_se,
        spammer=spam_probability(fit),
        low=probability_below(fit, LOW),
    )


def agreement_with_others(votes: VoteArrays) -> tuple[Float, Index]:
    """(A,) weighted share of decisive votes that agree with the others, NaN without any; (A,) how many there are.

    Counted are a person's votes for a response (ties and both_bad decide nothing) on pairs of which all other people's
    votes together give more weight to one response than to the other.
    """
    people, named = len(votes.annotators), votes.annotator >= 0
    pair, category = pairs_of(votes)
    weight = votes.weight * votes.group_share
    side = np.array([1.0, -1.0, 0.0, 0.0])[category]  # 1 for the pair's first response, −1 for its second
    total, margin = np.bincount(pair, weight), np.bincount(pair, weight * side)  # (pairs,)
    person = np.where(named, votes.annotator, people + np.arange(len(pair)))
    _, own = np.unique(person * len(total) + pair, return_inverse=True)  # (V,) number of this person's part in the pair
    others = margin[pair] - np.bincount(own, weight * side)[own]
    counted = named & (side != 0) & (np.abs(others) > ROUNDING * total[pair])
    agree = counted & (side * others > 0)

    who = votes.annotator[counted]
    of = np.bincount(who, weight[counted], people)
    share = np.bincount(votes.annotator[agree], weight[agree], people) / np.where(of > 0, of, 1.0)
    return np.where(of > 0, share, np.nan), np.bincount(who, minlength=people)


def spam_probability(fit: HierarchicalFit) -> Float:
    """(A,) P(discrimination < SPAM × the mean one) for each annotator's posterior in the joint fit.

    Who has cast few votes stays near the prior. As it is relative to the mean, nobody stands out where all vote alike,
    well or badly.
    """
    return probability_below(fit, SPAM)


def probability_below(fit: HierarchicalFit, share: float) -> Float:
    """(A,) P(discrimination < share × the mean one) for each annotator's posterior in the joint fit.

    The posterior of a discrimination is normal around its mode with Laplace's variance (``fit.annotators``), cut off
    below 0; strengths and priors are taken as fitted, and so are bias and ties of those whose mode is 0. The mean
    discrimination is 1 by construction, also where most people are spammers (a median would sink with them).
    """
    from scipy.special import ndtr

    mode = fit.discrimination
    deviation = np.sqrt(fit.annotators.variance[:-1, 0])
    below_0 = ndtr(-mode / deviation)
    probability: Float = (ndtr((share - mode) / deviation) - below_0) / (1 - below_0)
    return probability


def alpha(votes: VoteArrays) -> float:
    """Krippendorff's alpha of the outcomes: 1 is perfect, 0 chance; NaN where no two people judged a pair.

    A unit is a pair of responses; its categories are one, the other, tie and both_bad. Which response is "one" is a
    matter of naming and must not move alpha (ids sorted by quality would lower it): every pair enters both ways
    round. Pairs of K-wise rankings are left out: they are not judged one by one. Weights do not count. Who votes on a
    pair again counts once where they repeat themselves, and not at all where they do not.
    """
    _, pair, value = _judgments(votes)
    units = int(pair.max(initial=-1)) + 1
    counts = np.bincount(pair * 4 + value, minlength=4 * units).reshape(units, 4)
    return krippendorff(np.concatenate([counts, counts[:, [RIGHT, LEFT, TIE, BOTH_BAD]]]))


def judged_twice(votes: VoteArrays) -> tuple[int, int]:
    """What alpha rests on: the pairs that two people or more judged, and the people who did."""
    person, pair, _ = _judgments(votes)
    twice = np.bincount(pair, minlength=1)[pair] > 1
    return len(np.unique(pair[twice])), len(np.unique(person[twice]))


def _judgments(votes: VoteArrays) -> tuple[Index, Index, Index]:
    """(J,) person, pair and category of what each person steadily says of each pair, K-wise rankings left out."""
    pair, category = pairs_of(votes)
    alone = votes.group < 0
    pair, category, annotator = pair[alone], category[alone].astype(np.int64), votes.annotator[alone]
    units = int(pair.max(initial=-1)) + 1
    person = np.where(annotator >= 0, annotator, len(votes.annotators) + np.arange(len(pair)))
    judged, value = np.divmod(np.unique((person * units + pair) * 4 + category), 4)
    _, place, times = np.unique(judged, return_inverse=True, return_counts=True)
    steady = times[place] == 1
    who, what = np.divmod(judged[steady], max(units, 1))
    return who, what, value[steady]


def krippendorff(counts: Index) -> float:
    """Alpha for nominal data with missing values; NaN where no unit has two values, or all are of one category.

    counts: (U, C) how many observers put each unit into each category.
    Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C.
    """
    values = counts.sum(axis=1)
    counts, values = counts[values > 1].astype(np.float64), values[values > 1]
    n, of_category = values.sum(), counts.sum(axis=0)
    observed = ((values**2 - (counts**2).sum(axis=1)) / (values - 1)).sum()
    expected = n**2 - (of_category**2).sum()
    return float(1 - (n - 1) * observed / expected) if expected > 0 else float("nan")


def pairs_of(votes: VoteArrays) -> tuple[Index, npt.NDArray[np.int8]]:
    """(V,) the number of each vote's pair, and (V,) its outcome as if the pair's first response stood left."""
    low, high = np.minimum(votes.left, votes.right), np.maximum(votes.left, votes.right)
    _, pair = np.unique(low * np.int64(len(votes.responses)) + high, return_inverse=True)
    swapped = np.array([RIGHT, LEFT, TIE, BOTH_BAD], dtype=np.int8)
    return pair.astype(np.int64, copy=False), np.where(votes.left == low, votes.outcome, swapped[votes.outcome])

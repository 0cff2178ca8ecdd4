"""Profiles of annotators: agreement, discrimination, bias, ties; and Krippendorff's alpha.

Each anonymous vote counts as another annotator. The pairs of a K-wise ranking together have the weight of K − 1 votes,
as in the hierarchical ranker.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from curate.array_types import Bool, Float, Index, Int8
from curate.rankers.hierarchical import Annotators
from curate.votes.arrays import BOTH_BAD, LEFT, RIGHT, TIE, VoteArrays

ROUNDING = 1e-9
"""A majority below this share of a pair's weight is a rounding error."""
SPAM = 0.25
"""A spammer's discrimination is below this share of the mean annotator's."""
LOW = 0.5
"""Discrimination below this share needs training: four such votes carry less information than one average vote."""


@dataclass(frozen=True)
class Profiles:
    """Figures of A annotators; NaN without data. Standard errors are those of the posterior."""

    votes: Float
    """(A,) number of votes; a ranking of K counts as K − 1."""
    agreement: Float
    """(A,) weighted share of votes that agree with the majority of the others, 0 … 1."""
    compared: Index
    """(A,) number of votes that the agreement is computed from."""
    discrimination: Float
    """(A,) at least 0; mean 1; near 0 for a spammer."""
    discrimination_se: Float
    left_bias: Float
    """(A,) advantage of the response shown left, logits; NaN without known sides."""
    left_bias_se: Float
    sided: Index
    """(A,) decisive votes with known sides."""
    lefts: Index
    """(A,) those of them for the left response."""
    tie_share: Float
    """(A,) fitted share of ties on equal responses; both_bad counts as a tie."""
    tie_excess: Float
    """(A,) log odds of ties on equal responses minus those of the mean annotator, without side bias."""
    tie_excess_se: Float
    spammer: Float
    """(A,) P(spammer), see spam_probability."""
    low: Float
    """(A,) P(discrimination < LOW × mean)."""


@dataclass(frozen=True)
class Tally:
    """Sums over votes. Those over votes on different prompts can be added."""

    votes: Float
    """(A,) number of votes; a ranking of K counts as K − 1."""
    agreeing: Float
    """(A,) weight of the votes that agree with the majority of the others"""
    compared_weight: Float
    """(A,) weight of the votes of which this is known"""
    compared: Index
    """(A,) their number"""
    sided: Index
    """(A,) decisive votes with known sides"""
    lefts: Index
    """(A,) those of them for the left response"""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def agreement(self) -> Float:
        """(A,) weighted share of votes that agree with the majority of the others; NaN without any."""
        share: Float = self.agreeing / np.where(self.compared_weight > 0, self.compared_weight, np.nan)
        return share


def tally(votes: VoteArrays) -> Tally:
    """Return the sums over votes."""
    people, named = len(votes.annotators), votes.annotator >= 0
    decided = named & votes.sides_known & np.isin(votes.outcome, [LEFT, RIGHT])
    return Tally(
        np.bincount(votes.annotator[named], votes.group_share[named], people).astype(np.float64),
        *_agreement(votes),
        sided=np.bincount(votes.annotator[decided], minlength=people),
        lefts=np.bincount(votes.annotator[decided & (votes.outcome == LEFT)], minlength=people),
    )


def profiles(counts: Tally, people: Annotators) -> Profiles:
    """Return the profiles of A annotators. counts: of their votes. people: of a fit to these, with Davidson's ties."""
    discrimination_se, left_bias_se, tie_se = np.sqrt(people.variance[:-1]).T
    sided = people.sided[:-1] > 0
    tie_share = people.tie_share[:-1]
    return Profiles(
        votes=counts.votes,
        agreement=counts.agreement,
        compared=counts.compared,
        discrimination=people.discrimination[:-1],
        discrimination_se=discrimination_se,
        left_bias=np.where(sided, people.left_bias[:-1], np.nan),
        left_bias_se=np.where(sided, left_bias_se, np.nan),
        sided=counts.sided,
        lefts=counts.lefts,
        tie_share=tie_share if people.has_ties else np.zeros_like(tie_share),
        tie_excess=people.tie[:-1] - people.prior_mean[-1],
        tie_excess_se=tie_se,
        spammer=spam_probability(people),
        low=probability_below(people, LOW),
    )


def _agreement(votes: VoteArrays) -> tuple[Float, Float, Index]:
    """(A,) weight of decisive votes that agree with the others, (A,) that of all that are compared, (A,) their number.

    Only decisive votes count, on pairs where the votes of all others have a weighted majority.
    """
    people, named = len(votes.annotators), votes.annotator >= 0
    pair, category = pairs_of(votes)
    weight = votes.weight * votes.group_share
    side = np.array([1.0, -1.0, 0.0, 0.0])[category]  # 1 for the pair's first response, −1 for its second
    total, margin = np.bincount(pair, weight), np.bincount(pair, weight * side)  # (pairs,)
    person = np.where(named, votes.annotator, people + np.arange(len(pair)))
    _, own = np.unique(
        person * len(total) + pair, return_inverse=True
    )  # (V,) number of the combination of person and pair
    others = margin[pair] - np.bincount(own, weight * side)[own]
    counted = named & (side != 0) & (np.abs(others) > ROUNDING * total[pair])
    agree = counted & (side * others > 0)
    agreeing, compared = (
        np.bincount(votes.annotator[of], weight[of], people).astype(np.float64) for of in (agree, counted)
    )
    return agreeing, compared, np.bincount(votes.annotator[counted], minlength=people)


def spam_probability(annotators: Annotators) -> Float:
    """(A,) P(discrimination < SPAM × mean) by the posterior of each annotator.

    An annotator with few votes stays near the prior. The comparison is relative to the mean: if all annotators are
    equally good or bad, nobody is suspected.
    """
    return probability_below(annotators, SPAM)


def probability_below(annotators: Annotators, share: float) -> Float:
    """(A,) P(discrimination < share × mean) by the posterior of each annotator.

    The posterior is a normal distribution around the mode with Laplace's variance, truncated at 0;
    strengths and priors are fixed at their fitted values. The mean discrimination is 1 by construction, even if most
    annotators are spammers.
    """
    from scipy.special import ndtr

    mode = annotators.discrimination[:-1]
    deviation = np.sqrt(annotators.variance[:-1, 0])
    below_0 = ndtr(-mode / deviation)
    probability: Float = (ndtr((share - mode) / deviation) - below_0) / (1 - below_0)
    return probability


@dataclass(frozen=True)
class Judged:
    """Who judged which pairs, from which Krippendorff's alpha is computed. Those on different prompts can be added.

    A unit is a pair of responses; the categories are first, second, tie and both_bad. Every pair enters in both
    directions, so that alpha does not depend on which response is called first. Pairs of K-wise rankings are excluded,
    because they are not judged independently. Weights are ignored. Repeated votes of an annotator on a pair count once
    if they agree, and not at all if they differ.
    """

    observed: float
    """Disagreement within pairs with two or more judgments"""
    categories: Float
    """(4,) judgments of such pairs, in each category"""
    pairs: int
    """Pairs with two or more judges"""
    annotators: Bool
    """(A,) who judged such a pair"""
    anonymous: int
    """Anonymous judges of such pairs"""
    votes: Float
    """(A,) number of votes; a ranking of K counts as K − 1"""
    undecided: Float
    """(A,) those of them that are tie or both_bad"""

    def __add__(self, other: Judged) -> Judged:
        return Judged(
            self.observed + other.observed,
            self.categories + other.categories,
            self.pairs + other.pairs,
            self.annotators | other.annotators,
            self.anonymous + other.anonymous,
            self.votes + other.votes,
            self.undecided + other.undecided,
        )

    @property
    def judges(self) -> int:
        """Judges of pairs with two or more judges."""
        return int(self.annotators.sum()) + self.anonymous

    @property
    def tie_share(self) -> Float:
        """(A,) share of votes that are tie or both_bad; NaN without votes."""
        share: Float = self.undecided / np.where(self.votes > 0, self.votes, np.nan)
        return share

    @property
    def alpha(self) -> float:
        """Krippendorff's alpha: 1 is perfect, 0 the chance level; NaN if no two annotators judged a pair, or all
        judgments are of one category. K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C.
        """
        n = self.categories.sum()
        expected = n**2 - (self.categories**2).sum()
        return float(1 - (n - 1) * self.observed / expected) if expected > 0 else float("nan")


def judged(votes: VoteArrays) -> Judged:
    """Return who judged which pairs."""
    person, pair, value = _judgments(votes)
    people, units = len(votes.annotators), int(pair.max(initial=-1)) + 1
    counts = np.bincount(pair * 4 + value, minlength=4 * units).reshape(units, 4)
    counts = counts[counts.sum(axis=1) > 1].astype(np.float64)
    person = np.unique(person[np.bincount(pair, minlength=1)[pair] > 1])
    both = np.concatenate([counts, counts[:, [RIGHT, LEFT, TIE, BOTH_BAD]]])
    annotators = np.bincount(person[person < people], minlength=people) > 0
    named, undecided = votes.annotator >= 0, np.isin(votes.outcome, [TIE, BOTH_BAD])
    cast, tied = (
        np.bincount(votes.annotator[of], votes.group_share[of], people).astype(np.float64)
        for of in (named, named & undecided)
    )
    return Judged(*disagreement(both), len(counts), annotators, int((person >= people).sum()), cast, tied)


def _judgments(votes: VoteArrays) -> tuple[Index, Index, Index]:
    """(J,) person, pair and category of each person's consistent judgment of each pair, without K-wise rankings."""
    pair, category = pairs_of(votes)
    alone = votes.group_share == 1
    pair, category, annotator = pair[alone], category[alone].astype(np.int64), votes.annotator[alone]
    units = int(pair.max(initial=-1)) + 1
    person = np.where(annotator >= 0, annotator, len(votes.annotators) + np.arange(len(pair)))
    judged, value = np.divmod(np.unique((person * units + pair) * 4 + category), 4)
    _, place, times = np.unique(judged, return_inverse=True, return_counts=True)
    consistent = times[place] == 1
    person, unit = np.divmod(judged[consistent], max(units, 1))
    return person, unit, value[consistent]


def disagreement(counts: Float) -> tuple[float, Float]:
    """Return the observed disagreement for nominal data, and (C,) the number of values in each category.

    counts: (U, C) number of observers who put each unit into each category, two or more for each unit.
    """
    values = counts.sum(axis=1)
    return float(((values**2 - (counts**2).sum(axis=1)) / (values - 1)).sum()), counts.sum(axis=0)


def pairs_of(votes: VoteArrays) -> tuple[Index, Int8]:
    """(V,) the number of each vote's pair, and (V,) its outcome with the smaller response left."""
    low, high = np.minimum(votes.left, votes.right), np.maximum(votes.left, votes.right)
    _, pair = np.unique(low * np.int64(len(votes.responses)) + high, return_inverse=True)
    swapped = np.array([RIGHT, LEFT, TIE, BOTH_BAD], dtype=np.int8)
    return pair.astype(np.int64, copy=False), np.where(votes.left == low, votes.outcome, swapped[votes.outcome])

"""Accounts that copy each other's votes: rings, found by agreement that independent judgments cannot explain.

Two accounts belong to one ring if they give the same answer on nearly all pairs of responses that both judged, and if
this many equal answers are improbable: P(K ≥ k), K ~ Binomial(n, p), with p the mean probability of agreement by the
hierarchical ranker, and a level of significance for all pairs of accounts together (Bonferroni). A binomial variable
varies more than a sum of indicators with different probabilities of this mean (Hoeffding, 1956), and p is taken at a
discrimination two standard errors above the estimate: so good annotators, who agree because they are right, are no
ring. Pairs of one annotator on one prompt are not independent: n responses count as n − 1 judgments at most. People of
one taste who see clear differences also agree; they are more than a ring has accounts.

In a ring, the first of several equal votes on a pair is the judgment, and the others are copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.annotators.statistics import pairs_of
from curate.array_types import Bool, Float, Index, Int32
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit, log_probability
from curate.rankers.hierarchical.fit import prediction_nodes
from curate.rankers.hierarchical.model import DISCRIMINATION, TIE
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import sums, vote_data

LEVEL = 0.001
"""Probability of finding a ring where all accounts are independent."""
LEAST_AGREEMENT = 0.95
"""Share of equal answers in a ring."""
MOST_ACCOUNTS, FEW_ACCOUNTS = 0.2, 3
"""The share of all annotators that a ring has at most, if it has more than a few accounts: more people who agree on
nearly everything share a taste."""
LEAST_SHARED = 10.0
"""Independent judgments on pairs that both accounts judged."""
LOW_EXPECTATION = 0.4
"""Probability of agreement that is hardly ever lower, even with ties: equal answers that are no surprise by it are none
by the fit."""
MAX_COMPARISONS = 5_000_000
"""Of two votes on one pair, or twice the number of votes if that is more. On pairs with very many votes, each vote is
compared with the next ones only."""
MOST_COUNTERS = 2**26
"""Compared votes are first counted by pair of accounts, modulo the number of counters: most pairs of accounts have too
few, and need no more memory."""

Counters = Int32


@dataclass(frozen=True)
class Copying:
    """The rings among A annotators, and the copies among V votes."""

    ring: Index
    """(A,) the number of the annotator's ring, 0 …; −1 in none."""
    copied: Bool
    """(V,) whether an earlier vote of the same ring has the same answer on the same pair."""

    def rings(self, names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """Return the names of the accounts of each ring. names: (A,)."""
        found: list[list[str]] = [[] for _ in range(int(self.ring.max(initial=-1)) + 1)]
        for name, ring in zip(names, self.ring.tolist(), strict=True):
            if ring >= 0:
                found[ring].append(name)
        return tuple(map(tuple, found))


@dataclass(frozen=True)
class Comparisons:
    """The judgments of K pairs of accounts on pairs of responses that both judged."""

    accounts: Index
    """(K,) number of each pair of accounts: the first times the number of annotators, plus the second."""
    shared: Float
    """(K,) independent judgments that both made."""
    equal: Float
    """(K,) those of them with equal answers."""

    def __add__(self, other: Comparisons) -> Comparisons:
        """The comparisons on the prompts of both."""
        accounts, place = np.unique(np.append(self.accounts, other.accounts), return_inverse=True)
        shared, equal = np.append(self.shared, other.shared), np.append(self.equal, other.equal)
        return Comparisons(accounts, sums(place, shared, len(accounts)), sums(place, equal, len(accounts)))

    @property
    def level(self) -> float:
        """The level of significance of each pair of accounts."""
        return LEVEL / max(1, int((self.shared >= LEAST_SHARED).sum()))

    @property
    def suspects(self) -> Comparisons:
        """Pairs of accounts whose equal answers are improbable at the lowest probability of agreement."""
        likely = (self.shared >= LEAST_SHARED) & (self.equal >= LEAST_AGREEMENT * self.shared)
        likely &= _chance(self.equal, self.shared, LOW_EXPECTATION) < self.level
        return Comparisons(self.accounts[likely], self.shared[likely], self.equal[likely])


def no_copying(votes: VoteArrays) -> Copying:
    """Return no ring and no copy."""
    return Copying(np.full(len(votes.annotators), -1), np.zeros(len(votes.left), dtype=np.bool_))


def find_copying(votes: VoteArrays) -> Copying:
    """Return the rings and the copies. Anonymous votes are in no ring."""
    people, compared = len(votes.annotators), Compared(votes)
    counters = no_counters(len(votes.left))
    place, number = compared.counted(len(counters))
    counters[place] = number
    found = compared.comparisons(counters)
    suspects = found.suspects
    if not len(suspects.accounts):  # the fit below takes time
        return no_copying(votes)
    agreement = compared.expected_agreement(Hierarchical().fit(votes), suspects.accounts)
    ring = rings_of(suspects, agreement, found.level, people)
    return Copying(ring, compared.copies(ring))


def no_counters(votes: int) -> Counters:
    """Return counters of 0, for so many votes."""
    return np.zeros(min(2 ** votes.bit_length(), MOST_COUNTERS), dtype=np.int32)


class Compared:
    """Votes on some prompts, and every two of them by two known annotators on one pair."""

    def __init__(self, votes: VoteArrays) -> None:
        self.votes = votes
        self.pair, self.answer = pairs_of(votes)
        self.one, self.two = _same_pair(votes, self.pair)
        self.both = _unordered(votes.annotator[self.one], votes.annotator[self.two], len(votes.annotators))

    def counted(self, counters: int) -> tuple[Index, Index]:
        """The counters that the compared votes increase, and by how much."""
        return np.unique(self.both % counters, return_counts=True)

    def comparisons(self, counters: Counters) -> Comparisons:
        """The comparisons on these prompts. counters: of all prompts."""
        enough = counters[self.both % len(counters)] >= LEAST_SHARED  # of hardly any where there are many annotators
        one, two, both = self.one[enough], self.two[enough], self.both[enough]
        share, equal = _independent(self.votes, one, both), self.answer[one] == self.answer[two]
        accounts, place = np.unique(both, return_inverse=True)
        return Comparisons(accounts, sums(place, share, len(accounts)), sums(place, share * equal, len(accounts)))

    def expected_agreement(self, fit: HierarchicalFit, accounts: Index) -> Float:
        """(K,) how many equal answers independent accounts would give on these prompts.

        accounts: (K,) sorted numbers of pairs of accounts. fit: of the votes.
        """
        chosen = np.isin(self.both, accounts)
        one, two, both = self.one[chosen], self.two[chosen], self.both[chosen]
        agreement = _agreement(self.votes, fit, one, self.votes.annotator[two])
        agreement *= _independent(self.votes, one, both)
        return sums(np.searchsorted(accounts, both), agreement, len(accounts))

    def copies(self, ring: Index) -> Bool:
        """(V,) whether an earlier vote of another account of the same ring has the same answer on the same pair."""
        annotator, pair, answer = self.votes.annotator, self.pair, self.answer
        member = np.flatnonzero((annotator >= 0) & (np.append(ring, -1)[annotator] >= 0))
        key = (ring[annotator[member]] * (int(pair.max(initial=0)) + 1) + pair[member]) * 4 + answer[member]
        copied = np.zeros(len(pair), dtype=np.bool_)
        copied[np.delete(member, np.unique(key, return_index=True)[1])] = True
        return copied


def rings_of(suspects: Comparisons, agreement: Float, level: float, people: int) -> Index:
    """Return the (A,) ring of each annotator. agreement: (K,) ``expected_agreement`` on all prompts."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    chance = _chance(suspects.equal, suspects.shared, np.minimum(agreement / suspects.shared, 1.0))
    first, second = np.divmod(suspects.accounts[chance < level], people)
    links = coo_array((np.ones(len(first)), (first, second)), shape=(people, people))
    component = connected_components(links, directed=False)[1]
    size = np.bincount(component, minlength=people)[component]
    member = (size > 1) & (size <= max(FEW_ACCOUNTS, int(MOST_ACCOUNTS * people)))
    ring = np.full(people, -1)
    ring[member] = np.unique(component[member], return_inverse=True)[1]
    return ring


def _same_pair(votes: VoteArrays, pair: Index) -> tuple[Index, Index]:
    """Votes on the same pair by two known annotators, each two once."""
    named = np.flatnonzero(votes.annotator >= 0)
    order = named[np.lexsort((named, pair[named]))]
    sorted_pair, found, total = pair[order], [], 0
    for step in range(1, len(order)):
        at = np.flatnonzero(sorted_pair[step:] == sorted_pair[:-step])
        total += len(at)
        if not len(at) or total > max(MAX_COMPARISONS, 2 * len(order)):
            break
        found.append((order[at], order[at + step]))
    one, two = (np.concatenate([np.zeros(0, dtype=np.int64), *(side[k] for side in found)]) for k in (0, 1))
    different = votes.annotator[one] != votes.annotator[two]
    return one[different], two[different]


def _chance(equal: npt.NDArray[Any], shared: npt.NDArray[Any], expected: Float | float) -> Float:
    """The probability of at least so many equal answers of independent accounts."""
    from scipy.special import bdtrc

    return np.asarray(bdtrc(np.ceil(equal) - 1, np.ceil(shared).astype(np.int64), expected))


def _unordered(one: Int32, two: Int32, count: int) -> Index:
    """The number of each unordered pair of annotators."""
    return np.minimum(one, two).astype(np.int64) * count + np.maximum(one, two)


def _independent(votes: VoteArrays, vote: Index, both: Index) -> Float:
    """The share of an independent judgment of each compared vote, among those of its two annotators on its prompt."""
    prompt = votes.response_prompt[votes.left[vote]]
    block, count = np.unique(both * len(votes.prompts) + prompt, return_inverse=True, return_counts=True)[1:]
    ends = np.concatenate([votes.left[vote], votes.right[vote]])
    seen = np.unique(np.tile(block, 2) * len(votes.responses) + ends) // len(votes.responses)
    responses = np.bincount(seen, minlength=len(count))
    return np.asarray(np.minimum(1.0, (responses - 1) / count)[block])


def _agreement(votes: VoteArrays, fit: HierarchicalFit, vote: Index, other: Int32) -> Float:
    """The probability that the annotator of each vote and another one give the same answer on its pair."""
    data, people = vote_data(votes), fit.annotators
    gap = (fit.strength[data.left] - fit.strength[data.right])[vote]
    gap_se = np.sqrt(data.gap_variance(fit.normal.covariance)[vote] + 2 * fit.prior.error_variance)
    rate = people.value[:, DISCRIMINATION] + 2 * np.sqrt(people.variance[:, DISCRIMINATION])
    tie = people.value[:, TIE, None] + fit.prompt_tie
    prompt, agreement = data.prompt[vote], np.zeros(len(vote))
    for node, weight in prediction_nodes(float((rate.max(initial=0.0) * gap_se).max(initial=0.0))):
        advantage = gap + node * gap_se
        for side in (1.0, -1.0, 0.0):
            given = [
                np.exp(log_probability(rate[who] * advantage, tie[who, prompt], side))
                for who in (data.annotator[vote], other)
            ]
            agreement += weight * given[0] * given[1]
    return agreement

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
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit, log_probability
from curate.rankers.hierarchical.fit import prediction_nodes
from curate.rankers.hierarchical.model import DISCRIMINATION, TIE
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import vote_data

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
"""Of two votes on one pair. On pairs with very many votes, each vote is compared with the next ones only."""

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


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


def find_copying(votes: VoteArrays) -> Copying:
    """Return the rings and the copies. Anonymous votes are in no ring."""
    people = len(votes.annotators)
    pair, answer = pairs_of(votes)
    one, two = _same_pair(votes, pair)
    both = _unordered(votes.annotator[one], votes.annotator[two], people)
    group, count = np.unique(both, return_inverse=True, return_counts=True)[1:]
    enough = (count >= LEAST_SHARED)[group]  # of hardly any pair where there are many annotators
    one, two, both = one[enough], two[enough], both[enough]
    same, share = answer[one] == answer[two], _independent(votes, one, both)
    accounts, group = np.unique(both, return_inverse=True)
    shared = np.bincount(group, share, len(accounts))
    equal = np.bincount(group, share * same, len(accounts))
    level = LEVEL / max(1, int((shared >= LEAST_SHARED).sum()))
    likely = (shared >= LEAST_SHARED) & (equal >= LEAST_AGREEMENT * shared)
    likely &= _chance(equal, shared, LOW_EXPECTATION) < level  # the fit below takes time
    if not likely.any():
        return Copying(np.full(people, -1), np.zeros(len(pair), dtype=np.bool_))
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    chosen = likely[group]
    agreement = _agreement(votes, Hierarchical().fit(votes), one[chosen], votes.annotator[two[chosen]])
    expected = np.bincount(group[chosen], share[chosen] * agreement, len(accounts))[likely] / shared[likely]
    chance = _chance(equal[likely], shared[likely], np.minimum(expected, 1.0))
    first, second = np.divmod(accounts[likely][chance < level], people)
    links = coo_array((np.ones(len(first)), (first, second)), shape=(people, people))
    component = connected_components(links, directed=False)[1]
    size = np.bincount(component, minlength=people)[component]
    member = (size > 1) & (size <= max(FEW_ACCOUNTS, int(MOST_ACCOUNTS * people)))
    ring = np.full(people, -1)
    ring[member] = np.unique(component[member], return_inverse=True)[1]
    return Copying(ring, _repeated(votes, ring, pair, answer))


def _same_pair(votes: VoteArrays, pair: Index) -> tuple[Index, Index]:
    """Votes on the same pair by two known annotators, each two once."""
    named = np.flatnonzero(votes.annotator >= 0)
    order = named[np.lexsort((named, pair[named]))]
    sorted_pair, found, total = pair[order], [], 0
    for step in range(1, len(order)):
        at = np.flatnonzero(sorted_pair[step:] == sorted_pair[:-step])
        total += len(at)
        if not len(at) or total > MAX_COMPARISONS:
            break
        found.append((order[at], order[at + step]))
    one, two = (np.concatenate([np.zeros(0, dtype=np.int64), *(side[k] for side in found)]) for k in (0, 1))
    different = votes.annotator[one] != votes.annotator[two]
    return one[different], two[different]


def _chance(equal: npt.NDArray[Any], shared: npt.NDArray[Any], expected: Float | float) -> Float:
    """The probability of at least so many equal answers of independent accounts."""
    from scipy.special import bdtrc

    return np.asarray(bdtrc(np.ceil(equal) - 1, np.ceil(shared).astype(np.int64), expected))


def _unordered(one: npt.NDArray[np.int32], two: npt.NDArray[np.int32], count: int) -> Index:
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


def _agreement(votes: VoteArrays, fit: HierarchicalFit, vote: Index, other: npt.NDArray[np.int32]) -> Float:
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


def _repeated(votes: VoteArrays, ring: Index, pair: Index, answer: npt.NDArray[np.int8]) -> Bool:
    """(V,) whether an earlier vote of another account of the same ring has the same answer on the same pair."""
    member = np.flatnonzero((votes.annotator >= 0) & (np.append(ring, -1)[votes.annotator] >= 0))
    key = (ring[votes.annotator[member]] * (int(pair.max(initial=0)) + 1) + pair[member]) * 4 + answer[member]
    copied = np.zeros(len(pair), dtype=np.bool_)
    copied[np.delete(member, np.unique(key, return_index=True)[1])] = True
    return copied

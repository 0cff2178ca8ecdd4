"""Accuracy of annotators on gold pairs and control questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.array_types import Float, Index, Int8
from curate.votes.arrays import LEFT, RIGHT, TIE, VoteArrays

Number = npt.NDArray[np.integer[Any]]

WILSON = 1.96
"""Standard errors of a 95% interval."""


@dataclass(frozen=True)
class Answers:
    """C answers to control questions, which are not votes, with the known outcomes."""

    annotator: Index
    """(C,) annotator numbers."""
    outcome: Int8
    """(C,) outcomes given, codes of curate.votes.arrays."""
    truth: Int8
    """(C,) known outcomes."""


@dataclass(frozen=True)
class Gold:
    """Accuracy of A annotators on known outcomes; NaN without such votes. both_bad counts as a tie."""

    votes: Index
    """(A,) votes on gold pairs and answers to control questions."""
    accuracy: Float
    """(A,) weighted share of these with the known outcome."""
    low: Float
    """(A,) lower end of the 95% interval of the accuracy (Wilson, 1927)."""
    high: Float
    """(A,) upper end."""
    chance_level: Float
    """(A,) accuracy of random guessing at the annotator's rate of ties."""
    mean: float
    """Weighted accuracy of all annotators together."""
    mean_chance_level: float
    """Their weighted mean chance level."""
    pairs: int
    """Gold pairs with one outcome."""
    unvoted: int
    """Gold pairs that no annotator voted on."""
    ambiguous: int
    """Pairs with more than one outcome, which are not used."""

    def threshold(self, share: float) -> Float:
        """(A,) accuracy above the chance level by ``share`` of the mean excess; NaN if the mean has no excess."""
        excess = self.mean - self.mean_chance_level
        return self.chance_level + share * excess if excess > 0 else np.full_like(self.chance_level, np.nan)


def against_gold(
    votes: VoteArrays,
    left: Number,
    right: Number,
    outcome: Int8,
    *,
    answers: Answers | None = None,
    ties: Float | None = None,
) -> Gold:
    """The accuracy of the annotators on gold pairs and on control questions.

    left, right: (G,) response numbers of the gold pairs; outcome: (G,) codes of curate.votes.arrays. A pair may occur
    more than once. ties: (A,) share of tie and both_bad among all votes of each annotator; None: among these votes.
    """
    count = len(votes.responses)
    key, truth = _canonical(left, right, outcome, count)
    pair, truth = np.divmod(np.unique(key * 3 + truth), 3)
    pair, first, outcomes = np.unique(pair, return_index=True, return_counts=True)
    gold, truth = pair[outcomes == 1], truth[first[outcomes == 1]]

    share, people = votes.group_share, len(votes.annotators)
    voted, outcomes_given = _canonical(votes.left, votes.right, votes.outcome, count)
    named = np.flatnonzero(votes.annotator >= 0)
    if ties is None:
        ties = _share(votes.annotator[named], share[named], outcomes_given[named] == TIE, people)
    asked = named[np.isin(voted[named], gold)]
    true = truth[np.searchsorted(gold, voted[asked])]
    who, weight = votes.annotator[asked], share[asked]
    correct = outcomes_given[asked] == true
    if answers is not None:
        known = np.minimum(answers.truth, TIE)
        who, weight = (
            np.concatenate([who, answers.annotator]),
            np.concatenate([weight, np.ones(len(answers.annotator))]),
        )
        true = np.concatenate([true, known])
        correct = np.concatenate([correct, np.minimum(answers.outcome, TIE) == known])
    guess = np.where(true == TIE, ties[who], (1 - ties[who]) / 2)
    accuracy, size = _share(who, weight, correct, people), _sums(who, weight, people)
    low, high = wilson(accuracy, size)
    total = float(weight.sum())
    return Gold(
        votes=np.bincount(who, minlength=people),
        accuracy=accuracy,
        low=low,
        high=high,
        chance_level=_share(who, weight, guess, people),
        mean=float(weight @ correct) / total if total else float("nan"),
        mean_chance_level=float(weight @ guess) / total if total else float("nan"),
        pairs=len(gold),
        unvoted=len(gold) - len(np.unique(voted[asked])),
        ambiguous=len(pair) - len(gold),
    )


def wilson(share: Float, size: Float) -> tuple[Float, Float]:
    """Both ends of the 95% interval of a share among ``size`` draws; NaN for a NaN share.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    size = np.maximum(size, 1e-9)
    middle = share + WILSON**2 / (2 * size)
    reach = WILSON * np.sqrt(share * (1 - share) / size + WILSON**2 / (4 * size**2))
    return (middle - reach) / (1 + WILSON**2 / size), (middle + reach) / (1 + WILSON**2 / size)


def _canonical(left: Number, right: Number, outcome: Int8, count: int) -> tuple[Index, Index]:
    """(G,) the number of each pair, and its outcome with the smaller response left; both_bad is a tie."""
    low, high = np.minimum(left, right).astype(np.int64), np.maximum(left, right).astype(np.int64)
    turned = np.where(left == low, outcome, np.array([RIGHT, LEFT, TIE, TIE])[outcome])
    return low * count + high, np.minimum(turned, TIE).astype(np.int64)


def _share(who: Number, weight: Float, value: npt.NDArray[np.floating[Any] | np.bool_], people: int) -> Float:
    """(people,) weighted mean of the values per annotator; NaN without any."""
    total = _sums(who, weight, people)
    return _sums(who, weight * value, people) / np.where(total > 0, total, np.nan)


def _sums(who: Number, weight: Float, people: int) -> Float:
    """(people,) sum of the weights per annotator."""
    return np.bincount(who, weight, people).astype(np.float64, copy=False)

"""How annotators do on gold: pairs whose outcome is known, and control questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.votes.arrays import LEFT, RIGHT, TIE, VoteArrays

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Number = npt.NDArray[np.integer[Any]]

WILSON = 1.96
"""Standard errors either way: gold accuracy lies within the interval 95% of the time."""


@dataclass(frozen=True)
class Answers:
    """C answers to control questions: they are no votes, and each carries what is right."""

    who: Index
    """(C,) annotators' numbers."""
    said: npt.NDArray[np.int8]
    """(C,) codes of curate.votes.arrays."""
    truth: npt.NDArray[np.int8]
    """(C,) the same."""


@dataclass(frozen=True)
class Gold:
    """How A annotators voted on pairs whose outcome is known; NaN where they did not. both_bad counts as a tie."""

    votes: Index
    """(A,) their votes on such pairs, and their answers to control questions."""
    accuracy: Float
    """(A,) share of these, by weight, with the very outcome of the gold."""
    low: Float
    """(A,) lower end of its 95% interval (Wilson, 1927)."""
    high: Float
    """(A,) upper end."""
    chance: Float
    """(A,) accuracy to expect of one who ties as often as they do on all pairs, and else tosses a coin."""
    mean: float
    """Accuracy of all of them together, by weight."""
    mean_chance: float
    """The same of chance."""
    pairs: int
    """Gold pairs with one outcome."""
    unvoted: int
    """Of them, those that no annotator voted on."""
    contradicted: int
    """Pairs with more than one outcome; they are no gold."""

    def bar(self, share: float) -> Float:
        """(A,) accuracy of one who sees this share of what all of them together see. NaN where they see nothing."""
        seen = self.mean - self.mean_chance
        return self.chance + share * seen if seen > 0 else np.full_like(self.chance, np.nan)


def against_gold(
    votes: VoteArrays, left: Number, right: Number, outcome: npt.NDArray[np.int8], *, answers: Answers | None = None
) -> Gold:
    """The annotators of the votes on the pairs whose outcomes are given, and on the control questions they answered.

    left, right: (G,) response numbers; outcome: (G,) codes of curate.votes.arrays. A pair may come more than once.
    """
    count = len(votes.responses)
    key, truth = _facing(left, right, outcome, count)
    pair, truth = np.divmod(np.unique(key * 3 + truth), 3)
    pair, first, outcomes = np.unique(pair, return_index=True, return_counts=True)
    gold, truth = pair[outcomes == 1], truth[first[outcomes == 1]]

    share, people = votes.group_share, len(votes.annotators)
    voted, said = _facing(votes.left, votes.right, votes.outcome, count)
    named = np.flatnonzero(votes.annotator >= 0)
    who = votes.annotator[named]
    own_ties = _share(who, share[named], said[named] == TIE, people)
    asked = named[np.isin(voted[named], gold)]
    true = truth[np.searchsorted(gold, voted[asked])]
    who, weight = votes.annotator[asked], share[asked]
    right_answer = said[asked] == true
    if answers is not None:
        known = np.minimum(answers.truth, TIE)
        who, weight = np.concatenate([who, answers.who]), np.concatenate([weight, np.ones(len(answers.who))])
        true = np.concatenate([true, known])
        right_answer = np.concatenate([right_answer, np.minimum(answers.said, TIE) == known])
    luck = np.where(true == TIE, own_ties[who], (1 - own_ties[who]) / 2)
    accuracy, size = _share(who, weight, right_answer, people), _sums(who, weight, people)
    low, high = wilson(accuracy, size)
    total = float(weight.sum())
    return Gold(
        votes=np.bincount(who, minlength=people),
        accuracy=accuracy,
        low=low,
        high=high,
        chance=_share(who, weight, luck, people),
        mean=float(weight @ right_answer) / total if total else float("nan"),
        mean_chance=float(weight @ luck) / total if total else float("nan"),
        pairs=len(gold),
        unvoted=len(gold) - len(np.unique(voted[asked])),
        contradicted=len(pair) - len(gold),
    )


def wilson(share: Float, size: Float) -> tuple[Float, Float]:
    """Both ends of the 95% interval of a share of ``size`` draws; NaN where the share is.

    Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    size = np.maximum(size, 1e-9)
    middle = share + WILSON**2 / (2 * size)
    reach = WILSON * np.sqrt(share * (1 - share) / size + WILSON**2 / (4 * size**2))
    return (middle - reach) / (1 + WILSON**2 / size), (middle + reach) / (1 + WILSON**2 / size)


def _facing(left: Number, right: Number, outcome: npt.NDArray[np.int8], count: int) -> tuple[Index, Index]:
    """A number for each pair of ``count`` responses, and its outcome as if the lower stood left; both_bad is a tie."""
    low, high = np.minimum(left, right).astype(np.int64), np.maximum(left, right).astype(np.int64)
    turned = np.where(left == low, outcome, np.array([RIGHT, LEFT, TIE, TIE])[outcome])
    return low * count + high, np.minimum(turned, TIE).astype(np.int64)


def _share(who: Number, weight: Float, value: npt.NDArray[np.floating[Any] | np.bool_], people: int) -> Float:
    """(people,) weighted mean of the values of each; NaN without any."""
    total = _sums(who, weight, people)
    return _sums(who, weight * value, people) / np.where(total > 0, total, np.nan)


def _sums(who: Number, weight: Float, people: int) -> Float:
    """(people,) sum of the weights of each."""
    return np.bincount(who, weight, people).astype(np.float64, copy=False)

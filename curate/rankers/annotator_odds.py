"""How far each annotator's votes can be believed, whatever the gap: a one-coin model of annotators.

An annotator prefers the better of two responses with a chance q of their own, the same for every pair (Dawid and Skene,
1979, with one parameter each). Which of a pair is better is not known, and the vote in question must not say, or
everybody would agree with an order that was fitted to them: the chance p that the chosen response is the better one
comes from Bradley-Terry on all votes but this, by one Newton step from the fit on all (Laplace's posterior). Given p,
a vote has likelihood q p + (1 − q)(1 − p), and q is at its mode by EM. Fitting again on votes weighted by log-odds
gained nothing, and drove annotators apart who were alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float
from curate.rankers.bradley_terry import fit
from curate.votes.arrays import LEFT, RIGHT, VoteArrays

EM_STEPS = 100
PRIOR_VOTES = 20.0
"""An annotator's accuracy is shrunk as if they had cast so many votes more, right as often as the average one."""


def accuracies(votes: VoteArrays, ridge: float) -> Float:
    """(A + 1,) chance that a vote goes to the better response, the last for all anonymous votes together, ½ … 1.

    It is not let below ½: that would turn votes round, and who is wrong more often than by chance is nearly always
    someone with few votes. Who has none has the average. Ties decide nothing here. ridge: as of Bradley-Terry.
    """
    decides = (votes.outcome == LEFT) | (votes.outcome == RIGHT)
    who = np.where(votes.annotator < 0, len(votes.annotators), votes.annotator)[decides]
    likely, weight = chosen_is_better(votes, ridge)[decides], (votes.weight * votes.group_share)[decides]
    everyone = _coins(np.zeros_like(who), likely, weight, np.ones(1), np.ones(1))
    before = np.full(len(votes.annotators) + 1, PRIOR_VOTES)
    return _coins(who, likely, weight, before * everyone, before * (1 - everyone))


def relative_odds(accuracy: Float, votes: VoteArrays) -> Float:
    """(V,) log(q / (1 − q)) of who cast each vote, over its mean by vote weight; all 1 where nobody is above chance.

    accuracy: (A + 1,) of accuracies.
    """
    odds = np.log(accuracy / (1 - accuracy))[votes.annotator]
    mean = float(np.average(odds, weights=votes.weight)) if len(odds) else 0.0
    return odds / mean if mean > 0 else np.ones(len(odds))


def chosen_is_better(votes: VoteArrays, ridge: float) -> Float:
    """(V,) chance that the chosen response (left, where none is) is the better one, as all other votes have it.

    The gap in strength has posterior mean m and variance h, to which the vote gave w p (1 − p) of precision and
    w (y − p) of slope: taking them away leaves h' = h / (1 − w p (1 − p) h) and m' = m − w (y − p) h'.
    """
    from scipy.special import expit, ndtr

    share = np.array([1.0, 0.0, 0.5, 0.5])[votes.outcome]
    gap, variance = _gaps(votes, ridge)
    chance = expit(gap)
    left_out = variance / (1 - votes.weight * chance * (1 - chance) * variance)
    gap = gap - votes.weight * (share - chance) * left_out
    better: Float = ndtr(np.where(votes.outcome == RIGHT, -gap, gap) / np.sqrt(left_out))
    return better


def _gaps(votes: VoteArrays, ridge: float) -> tuple[Float, Float]:
    """(V,) posterior mean and (V,) variance of strength left − right, of Bradley-Terry's by Laplace."""
    gap, variance = np.zeros(len(votes.left)), np.zeros(len(votes.left))
    prompt = votes.response_prompt[votes.left]
    row = np.full(len(votes.prompts), -1)
    place = np.arange(len(votes.responses)) - votes.offsets[votes.response_prompt]  # (R,) within the prompt
    for graphs in votes.graphs:
        strength = fit(graphs.wins, ridge).strength
        spread = np.linalg.inv(information(graphs.wins, strength) + ridge * np.eye(strength.shape[1]))
        row[:] = -1
        row[graphs.prompts] = np.arange(len(graphs.prompts))
        mine = np.flatnonzero(row[prompt] >= 0)
        b, i, j = row[prompt[mine]], place[votes.left[mine]], place[votes.right[mine]]
        gap[mine] = strength[b, i] - strength[b, j]
        variance[mine] = spread[b, i, i] + spread[b, j, j] - 2 * spread[b, i, j]
    return gap, variance


def information(wins: Float, strength: Float) -> Float:
    """(B, N, N) what votes say of Bradley-Terry strengths (B, N): the graph's Laplacian weighted by p (1 − p)."""
    gap = strength[:, :, None] - strength[:, None, :]
    small = np.exp(-np.abs(gap))
    flow = (wins + wins.swapaxes(1, 2)) * small / (1 + small) ** 2
    laplacian: Float = -flow
    n = strength.shape[1]
    laplacian[:, np.arange(n), np.arange(n)] += flow.sum(axis=2)
    return laplacian


def _coins(who: npt.NDArray[np.integer[Any]], likely: Float, weight: Float, right: Float, wrong: Float) -> Float:
    """Accuracies by EM, not below ½. right, wrong: votes that each is held to have cast before."""
    votes = np.bincount(who, weight, len(right)) + right + wrong
    accuracy = right / (right + wrong)
    for _ in range(EM_STEPS):
        agrees = accuracy[who] * likely
        agrees /= agrees + (1 - accuracy[who]) * (1 - likely)
        accuracy = (np.bincount(who, weight * agrees, len(right)) + right) / votes
    floor: Float = np.maximum(accuracy, 0.5)
    return floor

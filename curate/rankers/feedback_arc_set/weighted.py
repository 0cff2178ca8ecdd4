"""Feedback arc set on votes weighted by each annotator's accuracy, from a one-coin model of annotators.

Annotator k prefers the better of two responses with probability q_k, the same for every pair (Dawid and Skene, 1979,
with one parameter each). The most likely order is then a minimum feedback arc set of votes weighted by
log(q_k / (1 − q_k)). Which response is better is unknown, and the vote in question must not count, or every annotator
would agree with an order fitted to their own votes: the probability p that the chosen response is the better one comes
from Bradley-Terry without that vote, by one Newton step from the fit on all votes (Laplace's posterior). Given p, a
vote has likelihood q p + (1 − q)(1 − p), and Newton's method finds the mode of q. Repeating the fit with new weights
gained nothing and exaggerated differences between annotators.

The log odds, scaled to mean 1 over all votes, are rounded to STEP, so that the search works on whole numbers, and are
at least STEP, so that even a spammer's vote decides where there is no other. Without annotators this is the feedback
arc set of the votes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from curate.array_types import Float
from curate.rankers.base import Labels, RankerSpec, Ranking, ranking_of
from curate.rankers.bradley_terry import covariance, mode_of
from curate.rankers.feedback_arc_set.ranker import FeedbackArcSet, feedback_arc_set
from curate.votes.arrays import LEFT, RIGHT, SHARE_LEFT, VoteArrays

STEP = 1 / 20
MAX_STEPS = 50
TOLERANCE = 1e-10
"""Change of an accuracy in the last step."""
PRIOR_VOTES = 20.0
"""Each annotator's accuracy is shrunk by this many votes at the average accuracy."""


@dataclass(frozen=True)
class WeightedFeedbackArcSet:
    """Rank by place in a minimum feedback arc set's order of the votes, weighted by annotators' log odds."""

    inner: FeedbackArcSet = field(default_factory=FeedbackArcSet)

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        """Return the ranking; its cost is in the votes' own weights, as for every ranker.

        Converged: the weighted order is proven optimal.
        """
        odds = relative_odds(accuracies(votes, self.inner.ridge), votes)
        factor = np.maximum(np.round(odds / STEP), 1) * STEP
        found = self.inner(replace(votes, weight=votes.weight * factor))
        return ranking_of(votes, found.scores, converged=found.converged, n_iter=found.n_iter)


def accuracies(votes: VoteArrays, ridge: float) -> Float:
    """Return (A + 1,) the probability that a vote prefers the better response; the last is for all anonymous votes.

    It lies in ½ … 1: a value below ½ would invert votes, and nearly always belongs to an annotator with few votes. An
    annotator without votes has the average. Ties do not count. ridge: as for Bradley-Terry.
    """
    decisive = (votes.outcome == LEFT) | (votes.outcome == RIGHT)
    annotator = np.where(votes.annotator < 0, len(votes.annotators), votes.annotator)[decisive]
    better, weight = chosen_is_better(votes, ridge)[decisive], (votes.weight * votes.group_share)[decisive]
    average = _mode_of_accuracies(np.zeros_like(annotator), better, weight, np.ones(1), np.ones(1))
    prior = np.full(len(votes.annotators) + 1, PRIOR_VOTES)
    return _mode_of_accuracies(annotator, better, weight, prior * average, prior * (1 - average))


def relative_odds(accuracy: Float, votes: VoteArrays) -> Float:
    """Return (V,) each vote's log(q / (1 − q)) divided by the weighted mean; all 1 if nobody is above chance level.

    accuracy: (A + 1,) of ``accuracies``.
    """
    odds = np.log(accuracy / (1 - accuracy))[votes.annotator]
    mean = float(np.average(odds, weights=votes.weight)) if len(odds) else 0.0
    return odds / mean if mean > 0 else np.ones(len(odds))


def chosen_is_better(votes: VoteArrays, ridge: float) -> Float:
    """Return (V,) the probability that the chosen response (left for a tie) is better, given all other votes.

    The difference in strength has posterior mean m and variance h, to which the vote contributed w p (1 − p) of
    precision and w (y − p) of gradient. Without it: h' = h / (1 − w p (1 − p) h) and m' = m − w (y − p) h'.
    """
    from scipy.special import expit, ndtr

    share = SHARE_LEFT[votes.outcome]
    difference, variance = _differences(votes, ridge)
    probability = expit(difference)
    variance = variance / (1 - votes.weight * probability * (1 - probability) * variance)
    difference = difference - votes.weight * (share - probability) * variance
    better: Float = ndtr(np.where(votes.outcome == RIGHT, -difference, difference) / np.sqrt(variance))
    return better


def _differences(votes: VoteArrays, ridge: float) -> tuple[Float, Float]:
    """Return (V,) posterior mean and variance of strength left − right, by Laplace's approximation."""
    difference, variance = np.zeros(len(votes.left)), np.zeros(len(votes.left))
    prompt = votes.response_prompt[votes.left]
    slot = np.arange(len(votes.responses)) - votes.offsets[votes.response_prompt]  # (R,) within the prompt
    for graphs in votes.graphs:
        strength = mode_of(graphs, ridge).strength
        posterior = covariance(graphs.wins, strength, ridge)
        row = np.full(len(votes.prompts), -1)
        row[graphs.prompts] = np.arange(len(graphs.prompts))
        mine = np.flatnonzero(row[prompt] >= 0)
        b, i, j = row[prompt[mine]], slot[votes.left[mine]], slot[votes.right[mine]]
        difference[mine] = strength[b, i] - strength[b, j]
        variance[mine] = posterior[b, i, i] + posterior[b, j, j] - 2 * posterior[b, i, j]
    return difference, variance


def _mode_of_accuracies(annotator: Labels, better: Float, weight: Float, right: Float, wrong: Float) -> Float:
    """Return each annotator's most probable accuracy, at least ½. right, wrong: prior votes of each annotator.

    The log-posterior is concave in the accuracy. A Newton step that would leave (0, 1) goes half of the way to the end.
    """
    accuracy, lean = right / (right + wrong), 2 * better - 1
    for _ in range(MAX_STEPS):
        rate = lean / (1 - better + accuracy[annotator] * lean)
        gradient = np.bincount(annotator, weight * rate, len(right)) + right / accuracy - wrong / (1 - accuracy)
        of_votes = np.bincount(annotator, weight * rate**2, len(right))
        curvature = of_votes + right / accuracy**2 + wrong / (1 - accuracy) ** 2
        step = np.clip(gradient / curvature, -accuracy / 2, (1 - accuracy) / 2)
        accuracy = accuracy + step
        if np.abs(step).max() <= TOLERANCE:
            break
    limited: Float = np.maximum(accuracy, 0.5)
    return limited


RANKER = RankerSpec(
    "weighted-feedback-arc-set",
    build=lambda config: WeightedFeedbackArcSet(feedback_arc_set(config)),
    relative_cost=20.0,
    needs_annotators=True,
    without_annotators="feedback-arc-set",
    pools_prompts=False,  # it shares accuracies between prompts by annotator, and the bootstrap gives each draw its own
)

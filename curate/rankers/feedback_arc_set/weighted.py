"""Feedback arc set on votes weighted by how far their annotators can be believed.

Where annotator k prefers the better response with chance q_k whatever the gap, the likeliest order is the one that
the least Σ log(q_k / (1 − q_k)) of votes goes against: a minimum feedback arc set. Accuracies are those of
``annotator_odds``; the log-odds, of mean 1 over all votes, are rounded to STEP, so that the search has whole numbers
to work with, and none is below STEP: where nobody else has a say, even a spammer's vote decides.

Without annotators, this is the feedback arc set of the votes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from curate.rankers.annotator_odds import accuracies, relative_odds
from curate.rankers.base import Ranking
from curate.rankers.feedback_arc_set.ranker import FeedbackArcSet
from curate.rankers.result import ranking_of
from curate.votes.arrays import VoteArrays

STEP = 1 / 20


@dataclass(frozen=True)
class WeightedFeedbackArcSet:
    """Ranks by place in a minimum feedback arc set's order of the votes, weighted by annotators' log-odds."""

    inner: FeedbackArcSet = field(default_factory=FeedbackArcSet)

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        """Cost is in the votes' own weights, as everybody's; converged: the weighted order is proved best."""
        odds = relative_odds(accuracies(votes, self.inner.ridge), votes)
        factor = np.maximum(np.round(odds / STEP), 1) * STEP
        found = self.inner(replace(votes, weight=votes.weight * factor))
        return ranking_of(votes, found.scores, converged=found.converged, n_iter=found.n_iter)

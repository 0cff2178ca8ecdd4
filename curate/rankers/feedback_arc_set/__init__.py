"""Minimum feedback arc set: the order that disagrees with the least vote weight, with a proof of optimality."""

from curate.rankers.feedback_arc_set.ranker import FeedbackArcSet
from curate.rankers.feedback_arc_set.weighted import WeightedFeedbackArcSet

__all__ = ["FeedbackArcSet", "WeightedFeedbackArcSet"]

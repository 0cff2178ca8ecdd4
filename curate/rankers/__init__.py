"""Rankers turn votes into one score for each response. ``registry`` finds them by name; each has a module of its own.

Exported is what a third-party ranker needs.
"""

from curate.rankers.base import Fit, PosteriorRanker, Ranker, RankerSpec, Ranking, ranking_of, ranks

__all__ = ["Fit", "PosteriorRanker", "Ranker", "RankerSpec", "Ranking", "ranking_of", "ranks"]

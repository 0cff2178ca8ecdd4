"""Rankers turn votes into one score for each response. ``registry`` finds them by name; each has a file of its own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.rankers.base import Fit, PosteriorRanker, Ranker, RankerSpec, Ranking, ranking_of, ranks
    from curate.rankers.borda import Borda
    from curate.rankers.bradley_terry import BradleyTerry
    from curate.rankers.crowd_bt import CrowdBT
    from curate.rankers.ensemble import Ensemble, combine
    from curate.rankers.feedback_arc_set import FeedbackArcSet, WeightedFeedbackArcSet
    from curate.rankers.hierarchical import Hierarchical
    from curate.rankers.pagerank import PageRank
    from curate.rankers.rate_pagerank import RatePageRank
    from curate.rankers.registry import build
    from curate.rankers.win_rate import WinRate

__all__ = [
    "Borda",
    "BradleyTerry",
    "CrowdBT",
    "Ensemble",
    "FeedbackArcSet",
    "Fit",
    "Hierarchical",
    "PageRank",
    "PosteriorRanker",
    "Ranker",
    "RankerSpec",
    "Ranking",
    "RatePageRank",
    "WeightedFeedbackArcSet",
    "WinRate",
    "build",
    "combine",
    "ranking_of",
    "ranks",
]

_MODULES = {
    "base": ("Fit", "PosteriorRanker", "Ranker", "RankerSpec", "Ranking", "ranking_of", "ranks"),
    "borda": ("Borda",),
    "bradley_terry": ("BradleyTerry",),
    "crowd_bt": ("CrowdBT",),
    "ensemble": ("Ensemble", "combine"),
    "feedback_arc_set": ("FeedbackArcSet", "WeightedFeedbackArcSet"),
    "hierarchical": ("Hierarchical",),
    "pagerank": ("PageRank",),
    "rate_pagerank": ("RatePageRank",),
    "registry": ("build",),
    "win_rate": ("WinRate",),
}
"""Module -> the names it exports. They are imported on first use: a ranker's compiled kernels cost start-up time."""


def __getattr__(name: str) -> Any:
    for module, exported in _MODULES.items():
        if name in exported:
            return getattr(import_module(f"curate.rankers.{module}"), name)
    raise AttributeError(f"module 'curate.rankers' has no attribute {name!r}")

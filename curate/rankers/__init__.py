"""Rankers by name: a new one is a frozen dataclass in its own file, a line here, and a name in RankerName."""

from __future__ import annotations

from collections.abc import Callable

from curate.rankers.base import Ranker, Ranking, ranks
from curate.rankers.borda import Borda
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.crowd_bt import CrowdBT
from curate.rankers.ensemble import Ensemble, combine
from curate.rankers.feedback_arc_set import FeedbackArcSet, WeightedFeedbackArcSet
from curate.rankers.hierarchical import Hierarchical
from curate.rankers.pagerank import PageRank
from curate.rankers.rate_pagerank import RatePageRank
from curate.rankers.win_rate import WinRate
from schemas.config import DenoiseConfig, RankerName


def _feedback_arc_set(config: DenoiseConfig) -> FeedbackArcSet:
    return FeedbackArcSet(
        max_states=config.feedback_arc_set.max_states,
        max_nodes=config.feedback_arc_set.max_nodes,
        solver=config.feedback_arc_set.solver,
        ridge=config.bradley_terry.ridge,
    )


RANKERS: dict[RankerName, Callable[[DenoiseConfig], Ranker]] = {
    "bradley-terry": lambda config: BradleyTerry(ridge=config.bradley_terry.ridge),
    "pagerank": lambda config: PageRank(damping=config.pagerank.damping),
    "rate-pagerank": lambda config: RatePageRank(damping=config.pagerank.damping),
    "feedback-arc-set": _feedback_arc_set,
    "weighted-feedback-arc-set": lambda config: WeightedFeedbackArcSet(_feedback_arc_set(config)),
    "crowd-bt": lambda config: CrowdBT(ridge=config.bradley_terry.ridge),
    "ensemble": lambda config: Ensemble(
        tuple((name, build(name, config), weight) for name, weight in config.weights.items() if weight > 0)
    ),
    "win-rate": lambda _: WinRate(),
    "borda": lambda _: Borda(),
    "joint": lambda config: Hierarchical(ties=config.joint.ties),
}


def build(name: RankerName, config: DenoiseConfig) -> Ranker:
    """The ranker of that name, with the hyperparameters that the config gives it."""
    return RANKERS[name](config)


__all__ = [
    "RANKERS",
    "Borda",
    "BradleyTerry",
    "CrowdBT",
    "Ensemble",
    "FeedbackArcSet",
    "Hierarchical",
    "PageRank",
    "Ranker",
    "Ranking",
    "RatePageRank",
    "WeightedFeedbackArcSet",
    "WinRate",
    "build",
    "combine",
    "ranks",
]

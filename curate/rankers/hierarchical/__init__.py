"""The hierarchical ranker: one model of all prompts, models and annotators (approximate marginal likelihood)."""

from curate.rankers.hierarchical.annotators import Annotators
from curate.rankers.hierarchical.evidence import Evidence, drawn_votes, evidence_of, fit_of_prompts
from curate.rankers.hierarchical.fit import HierarchicalFit
from curate.rankers.hierarchical.mixture import Mixture
from curate.rankers.hierarchical.model import log_probability
from curate.rankers.hierarchical.ranker import Hierarchical
from curate.rankers.hierarchical.shared import shared_fits

__all__ = [
    "Annotators",
    "Evidence",
    "Hierarchical",
    "HierarchicalFit",
    "Mixture",
    "drawn_votes",
    "evidence_of",
    "fit_of_prompts",
    "log_probability",
    "shared_fits",
]

"""The hierarchical ranker: one model of all prompts, models and annotators (approximate marginal likelihood)."""

from curate.rankers.hierarchical.ranker import Hierarchical, HierarchicalFit

__all__ = ["Hierarchical", "HierarchicalFit"]

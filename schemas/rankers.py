"""The names of rankers: where each one is declared, which names are valid in a config, and what they were called."""

from __future__ import annotations

import sys
from functools import cache, lru_cache
from importlib.metadata import EntryPoint

from schemas.errors import warn_renamed

GROUP = "curate.rankers"
"""The entry point group in which an installed package declares further rankers."""

BUILT_IN = {
    "bradley-terry": "curate.rankers.bradley_terry:RANKER",
    "pagerank": "curate.rankers.pagerank:RANKER",
    "rate-pagerank": "curate.rankers.rate_pagerank:RANKER",
    "feedback-arc-set": "curate.rankers.feedback_arc_set.ranker:RANKER",
    "weighted-feedback-arc-set": "curate.rankers.feedback_arc_set.weighted:RANKER",
    "crowd-bt": "curate.rankers.crowd_bt:RANKER",
    "win-rate": "curate.rankers.win_rate:RANKER",
    "borda": "curate.rankers.borda:RANKER",
    "hierarchical": "curate.rankers.hierarchical.ranker:RANKER",
    "model-means": "curate.rankers.hierarchical.ranker:MODEL_MEANS",
    "ensemble": "curate.rankers.ensemble:RANKER",
}
"""Name -> where its ``RankerSpec`` is. This is the only list of the built-in rankers."""
RENAMED = {"joint": "hierarchical"}
"""Old name -> new name."""
AUTO, STACK = "auto", "stack"
"""Not rankers: the choice by held-out votes, and the weighted sum of several rankers' log odds that it may choose."""


def third_party() -> dict[str, EntryPoint]:
    """Return the rankers of installed packages by name. Names that curate itself uses are left to curate."""
    return _third_party_on(tuple(sys.path))


@lru_cache(maxsize=1)
def _third_party_on(_: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Return the rankers of the packages on ``sys.path``: a search through all installed packages."""
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group=GROUP)}
    return {name: found[name] for name in sorted(found) if name not in BUILT_IN | RENAMED and name not in (AUTO, STACK)}


def entry_point(name: str) -> EntryPoint | None:
    """Return where the ranker of this name is declared; None for an unknown name."""
    return _built_in().get(name) or third_party().get(name)


def ranker_names() -> tuple[str, ...]:
    """Return the names of all rankers: the built-in ones, then those of installed packages."""
    return (*BUILT_IN, *third_party())


def check_ranker(name: str) -> str:
    """Return the current name of a ranker. Raises ValueError, with the known names, for an unknown one."""
    if name in RENAMED:
        warn_renamed(name, RENAMED[name])
        return RENAMED[name]
    if entry_point(name) is None:
        raise ValueError(f"unknown ranker {name!r}; expected one of {', '.join(ranker_names())}")
    return name


def check_choice(name: str) -> str:
    """Return the current name of a ranker, or "auto"."""
    return name if name == AUTO else check_ranker(name)


@cache
def _built_in() -> dict[str, EntryPoint]:
    return {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}


MethodName = str
"""A ranker, or "stack": the weighted sum of the rankers' log odds. Not validated: reports may come from elsewhere."""

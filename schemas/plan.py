"""The report of ``curate plan``."""

from __future__ import annotations

from schemas.base import Document
from schemas.choices import Focus, TaskFormat


class ExpectedAccuracy(Document):
    """Expected accuracy of the order by posterior means, mean over prompts; None with too few responses."""

    votes: int
    """Votes of the plan that are collected."""
    tau: float | None
    """Kendall's tau to the true order."""
    top1: float | None
    """Share of prompts whose first response is truly best."""
    best_of_4: float | None
    """Share of random sets of four whose first response is truly the best of them."""


class PlanReport(Document):
    """A plan, and the file that it was written to."""

    renamed = {"beside": "labelling_config", "known": "store_votes"}

    store: str
    out: str
    format: TaskFormat
    labelling_config: str
    """The labelling config of Label Studio, written next to the tasks; empty for other formats."""
    written: bool
    """False if the file existed already with the same content."""
    focus: Focus
    seed: int
    store_votes: int
    """Votes of the store that the plan is based on."""
    votes: int
    """Votes of the plan."""
    pairs: int
    """Pairs of the plan."""
    prompts: int
    """Prompts of the plan."""
    planned: tuple[ExpectedAccuracy, ...]
    """After the first votes of the plan, from none to all."""
    random: tuple[ExpectedAccuracy, ...]
    """After as many votes on random pairs."""
    warnings: tuple[str, ...]

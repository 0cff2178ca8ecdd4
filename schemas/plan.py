"""What ``curate plan`` says: which votes it asks for, and the accuracy that they are expected to bring."""

from __future__ import annotations

from typing import Literal

from schemas.base import Document

Focus = Literal["order", "best"]
"""What votes are to settle: the whole order of every prompt, or who is its best."""
TaskFormat = Literal["csv", "jsonl", "label-studio", "toloka", "mturk", "prodigy", "argilla", "potato"]
"""A table to fill in (csv, jsonl), or the input that a platform takes."""


class ExpectedAccuracy(Document):
    """Expected accuracy of the order, mean over prompts, once some of the votes are in. None: too few responses."""

    votes: int
    """Votes of the plan that are in."""
    tau: float | None
    """Kendall's tau to the true order."""
    top1: float | None
    """Share of prompts whose first is truly best."""
    best_of_4: float | None
    """Share of random fours whose first is truly their best."""


class PlanReport(Document):
    """A plan, and the file it was written to."""

    store: str
    out: str
    format: TaskFormat
    beside: str
    """What was written beside it: the labelling config of Label Studio; empty for other formats."""
    written: bool
    """False where the file was there already, the same to the byte."""
    focus: Focus
    seed: int
    known: int
    """Votes of the store that the plan rests on."""
    votes: int
    """Votes that are asked."""
    pairs: int
    """Pairs that they are on."""
    prompts: int
    """Prompts that they are on."""
    planned: tuple[ExpectedAccuracy, ...]
    """With the first votes of the plan, from none to all."""
    random: tuple[ExpectedAccuracy, ...]
    """With as many votes on pairs drawn at random."""
    warnings: tuple[str, ...]

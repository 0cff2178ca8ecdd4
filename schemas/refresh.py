"""What a refresh would do, and what it did."""

from __future__ import annotations

from schemas.base import Document
from schemas.release import DiffReport


class RefreshPlan(Document):
    """What is new, and which steps follow from it."""

    new_files: tuple[str, ...]
    """Watched files whose bytes the store has not read."""
    known_files: int
    votes: int
    """New votes in them."""
    duplicates: int
    rejects: int
    steps: tuple[str, ...]
    """What is to be done, and why, in words; empty where nothing is new."""


class RefreshReport(Document):
    """One refresh."""

    plan: RefreshPlan
    dry_run: bool
    run: str
    """The denoise run that stands now; empty in a dry run."""
    release: str
    """The folder of the release that stands now; empty in a dry run."""
    moved: bool
    """Whether there is a new release."""
    summary: str
    """The page on what moved; empty where nothing did."""
    report: str = ""
    """The HTML report, where the recipe has one and something moved."""
    changes: DiffReport | None
    """From the release before; None for the first, and where nothing moved."""

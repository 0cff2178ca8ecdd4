"""The plan of a refresh, and its result."""

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
    recovered: int = 0
    """Rows of known files that became votes because their prompt is known now."""
    steps: tuple[str, ...]
    """The steps to run, each with its reason; empty if nothing is new."""


class RefreshReport(Document):
    """One refresh."""

    renamed = {"moved": "released"}

    plan: RefreshPlan
    dry_run: bool
    run: str
    """The current denoise run; empty in a dry run."""
    release: str
    """The folder of the current release; empty in a dry run."""
    released: bool
    """Whether this refresh made a new release."""
    summary: str
    """The page on the changes; empty without a new release."""
    report: str = ""
    """The HTML report, if the recipe has one and there is a new release."""
    changes: DiffReport | None
    """Changes since the previous release; None for the first one and without a new release."""

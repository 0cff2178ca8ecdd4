"""What ``curate annotators`` says: one row a person, and how far all of them agree."""

from __future__ import annotations

from schemas.base import Document


class AnnotatorRow(Document):
    """One annotator. None where nothing is known."""

    annotator_id: str
    p_spammer: float
    """Probability that their discrimination is below a quarter of the mean one."""
    agreement: float | None
    """Share of their decisive votes, by weight, that go with the majority of the others on the same pair."""
    compared: int
    """Votes that the agreement rests on."""
    votes: int
    """Pairwise votes."""
    discrimination: float
    """What a difference in strength is multiplied by in their eyes: 1 is the mean, 0 votes without looking."""
    left_bias: float | None
    """Advantage of the response shown left, logits; None where no side is known."""
    tie_share: float
    """Share of ties on equals, as fitted."""
    median_seconds: float | None
    """Median time on a task, seconds."""


class AnnotatorsReport(Document):
    """The people behind a store's votes."""

    store: str
    votes: int
    """Pairwise votes in all."""
    anonymous: int
    """Those of them without an annotator."""
    alpha: float | None
    """Krippendorff's alpha of the outcomes, nominal, K-wise rankings left out; None where it is not defined."""
    annotators: tuple[AnnotatorRow, ...]
    """Worst first: highest p_spammer, then lowest agreement."""
    warnings: tuple[str, ...]

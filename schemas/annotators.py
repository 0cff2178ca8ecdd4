"""What ``curate annotators`` says: one row a person with what to do about them, and how far all of them agree."""

from __future__ import annotations

from typing import Literal

from schemas.base import Document

Recommendation = Literal["drop", "retrain", "watch", "too few votes", "pay"]
"""What to do about an annotator, the worst first. too few votes: they say neither good nor bad of them."""


class AnnotatorRow(Document):
    """One annotator. None where nothing is known. Standard errors are of the posterior in the joint model."""

    annotator_id: str
    recommendation: Recommendation
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
    discrimination_se: float
    left_bias: float | None
    """Advantage of the response shown left, logits; None where no side is known."""
    left_bias_se: float | None
    tie_share: float
    """Share of ties on equals, as fitted."""
    median_seconds: float | None
    """Median time on a task, seconds."""
    fast_share: float | None
    """Share of their tasks, of those with a time, that took less than a third of the store's median."""
    gold_votes: int
    """Votes on pairs of the gold file, and answers to control questions."""
    gold_accuracy: float | None
    """Share of them with the very outcome of the gold; both_bad counts as a tie."""
    gold_low: float | None
    """Lower end of its 95% interval."""
    gold_high: float | None
    """Upper end."""
    reason: str
    """Why this is recommended; empty for pay."""


class GoldReport(Document):
    """What is known to be right: pairs of a file, and control questions that were answered."""

    file: str
    """Empty where only control questions say what is right."""
    pairs: int
    """Pairs of the store with one known outcome."""
    unvoted: int
    """Of them, those that no annotator voted on."""
    contradicted: int
    """Pairs left out because the file gives them more than one outcome."""
    unknown: int
    """Rows left out because the store does not know their prompt or responses."""
    rejected: int
    """Rows left out because they cannot be read."""
    controls: int
    """Answers of annotators with votes to control questions."""
    votes: int
    """Votes of annotators on gold pairs, and these answers."""
    accuracy: float | None
    """Share of these with the outcome of the gold; None where there are none."""
    chance: float | None
    """What coins that tie as often as these people would reach."""


class AnnotatorsReport(Document):
    """The people behind a store's votes."""

    store: str
    votes: int
    """Pairwise votes in all."""
    anonymous: int
    """Those of them without an annotator."""
    alpha: float | None
    """Krippendorff's alpha of the outcomes, nominal, K-wise rankings left out; None where it is not defined."""
    judged_twice: int
    """Pairs that two people or more judged: what alpha rests on."""
    judges: int
    """People behind these; each anonymous vote counts for one."""
    gold: GoldReport | None
    """None where no gold was given and no control question answered."""
    dropped_share: float
    """Share of all votes that dropping whom it is recommended to drop would leave out."""
    annotators: tuple[AnnotatorRow, ...]
    """Worst first: by recommendation, then highest p_spammer, then lowest agreement."""
    warnings: tuple[str, ...]

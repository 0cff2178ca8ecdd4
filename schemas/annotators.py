"""The report of ``curate annotators``: one row per annotator with a recommendation, and their agreement."""

from __future__ import annotations

from typing import Literal

from schemas.base import Document

Recommendation = Literal["drop", "retrain", "watch", "too few votes", "pay"]
"""What to do about an annotator, the worst first. too few votes: not enough data for a judgment."""


class AnnotatorRow(Document):
    """One annotator. Figures without data are None. Standard errors are those of the posterior."""

    annotator_id: str
    recommendation: Recommendation
    p_spammer: float
    """P(discrimination < a quarter of the mean annotator's)."""
    agreement: float | None
    """Weighted share of decisive votes that agree with the majority of the others on the pair."""
    compared: int
    """Votes that the agreement is computed from."""
    votes: int
    """Pairwise votes."""
    discrimination: float
    """Factor by which differences in strength are perceived: mean 1, near 0 for a spammer."""
    discrimination_se: float
    left_bias: float | None
    """Advantage of the response shown left, logits; None without known sides."""
    left_bias_se: float | None
    tie_share: float
    """Fitted share of ties on equal responses."""
    median_seconds: float | None
    """Median time per task."""
    fast_share: float | None
    """Share of the tasks with a time that took less than a third of the store's median."""
    gold_votes: int
    """Votes on gold pairs, and answers to control questions."""
    gold_accuracy: float | None
    """Share of these with the known outcome; both_bad counts as a tie."""
    gold_low: float | None
    """Lower end of the 95% interval."""
    gold_high: float | None
    """Upper end."""
    reason: str
    """The reason for the recommendation; empty for pay."""


class GoldReport(Document):
    """The known outcomes: gold pairs of a file, and answered control questions."""

    renamed = {"contradicted": "ambiguous", "chance": "chance_level"}

    file: str
    """The gold file; empty if there are only control questions."""
    pairs: int
    """Gold pairs of the store with one known outcome."""
    unvoted: int
    """Those of them that no annotator voted on."""
    ambiguous: int
    """Pairs excluded because the file has more than one outcome for them."""
    unknown: int
    """Rows excluded because their prompt or responses are not in the store."""
    rejected: int
    """Rows excluded because they cannot be read."""
    controls: int
    """Answers to control questions, of annotators with votes."""
    votes: int
    """Votes on gold pairs, and these answers."""
    accuracy: float | None
    """Share of these with the known outcome; None without any."""
    chance_level: float | None
    """The accuracy of random guessing at the annotators' rates of ties."""


class AnnotatorsReport(Document):
    """The annotators of a store."""

    store: str
    votes: int
    """Pairwise votes in total."""
    anonymous: int
    """Votes without an annotator."""
    alpha: float | None
    """Krippendorff's alpha of the outcomes (nominal, without K-wise rankings); None if undefined."""
    judged_twice: int
    """Pairs with two or more judges, from which alpha is computed."""
    judges: int
    """Judges of these pairs; each anonymous vote counts as one."""
    gold: GoldReport | None
    """None without a gold file and answered control questions."""
    dropped_share: float
    """Share of all votes that following the recommendation "drop" excludes."""
    annotators: tuple[AnnotatorRow, ...]
    """Worst first: by recommendation, then highest p_spammer, then lowest agreement."""
    warnings: tuple[str, ...]

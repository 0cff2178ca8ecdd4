"""What one scorer scored on one data set: the report that `evaluate` writes, a row for the whole and for each part."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import field_validator

from schemas.base import Document


class EvaluationRow(Document):
    """Figures over the items of one part. Shares are 0 to 1; a figure that has nothing to rest on is null."""

    part: Literal["all", "size", "source"]
    """The whole, the items with N responses, or the items of one source."""
    name: str
    """all, N as digits, or the source."""
    items: int
    clusters: int
    """What standard errors count as independent: items of one video (images, prompt) err together."""
    top1: float | None
    """Share of items whose highest score is among the best-ranked; higher is better."""
    top1_se: float | None
    chance: float | None
    """What a coin scores in top1: mean of (responses that share the best rank) / N."""
    pairwise: float | None
    """Share of pairs with different ranks that the scores order alike, over all pairs; a tie of scores counts half."""
    pairwise_se: float | None
    pairwise_by_item: float | None
    """The same, a mean over items: long items weigh no more than short ones."""
    tau: float | None
    """Mean Kendall tau-b of scores and ranks, −1 to 1; over items where it is defined."""
    ece: float | None
    """Expected calibration error of the highest softmax probability; lower is better."""
    ece_bins: int | None
    """Bins of equal mass behind ece. With few items a bin, ece is above 0 by chance alone."""
    nll: float | None
    """Mean −log softmax probability of the best, nats; lower is better, log N for a coin."""
    brier: float | None
    """Mean squared distance of the softmax probabilities from the best one, 0 to 2; lower is better."""
    shared_best: int
    """Items without a single best: left out of ece, nll and brier."""
    order_sensitivity: float | None = None
    """Share of items whose winner changes with the order of the responses; null when not measured."""
    order_score_difference: float | None = None
    """Mean |difference| of a response's scores between two orders; null when not measured."""

    @field_validator("*", mode="before")
    @classmethod
    def _nothing_known(cls, value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value


class EvaluationReport(Document):
    """One scorer on one data set. Holds no time and no path: equal inputs give equal reports."""

    scorer: str
    data: str
    rows: tuple[EvaluationRow, ...]
    """The whole first, then by N ascending, then by source in the order of the alphabet."""

    @property
    def overall(self) -> EvaluationRow:
        return self.rows[0]

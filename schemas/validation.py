"""What ``curate validate`` says: how well each method foretold votes that it had not seen."""

from __future__ import annotations

from typing import Literal

from schemas.base import Document
from schemas.config import RankerName

HoldOut = Literal["vote", "pair", "annotator"]
"""What is held out whole: single votes, all votes on a pair of one prompt, or all votes of an annotator."""


class MethodScore(Document):
    """One method on the held-out votes. Standard errors are None where there is only one cluster."""

    method: RankerName
    log_loss: float
    """Mean −log of the chance given to what was chosen, nats; lower is better. log 2 = 0.693 knows nothing, or orders
    other held-out votes wrongly more often than not (accuracy tells which)."""
    log_loss_se: float | None
    accuracy: float
    """Share of votes for the response that the method's order (for joint: its chance) holds to be better; where both
    are held equal, half a vote."""
    accuracy_se: float | None
    calibration_error: float
    """ECE: mean distance between chance and share of votes over ten bins of equal count; 0 is best."""
    behind: float
    """Log-loss above that of the best method; 0 for the best itself."""
    behind_se: float | None
    """Standard error of that difference, vote by vote on the same votes."""
    told_apart: bool | None
    """Whether the difference to the best is significant at 5% (t-test, clusters − 1 degrees of freedom); None for the
    best itself and where there is only one cluster."""


class ValidationReport(Document):
    """Every method on the same held-out votes."""

    store: str
    by: HoldOut
    folds: int
    seed: int
    votes: int
    """Votes of the store that were dealt to the folds. votes = scored + ties + not_ranked."""
    scored: int
    """Held-out votes that the methods are measured by: decisive, on two responses that the training votes rank."""
    ties: int
    """Held-out votes without a decision."""
    not_ranked: int
    """Decisive held-out votes on responses that no chain of training votes connects, or in prompts not ranked."""
    clustered_by: Literal["prompt", "annotator"]
    """What the standard errors take to be independent."""
    clusters: int
    methods: tuple[MethodScore, ...]
    """Best first: lowest log-loss."""

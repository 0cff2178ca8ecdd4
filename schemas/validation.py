"""What ``curate validate`` says: how well each method foretold votes that it had not seen."""

from __future__ import annotations

from typing import Literal

from schemas.base import Document
from schemas.config import MethodName

HoldOut = Literal["vote", "pair", "annotator"]
"""What is held out whole: single votes, all votes on a pair of one prompt, or all votes of an annotator."""

SplitBy = Literal["annotator", "vote"]
"""What no half shares with the other: annotators, or only votes."""


class CalibrationBin(Document):
    """Held-out votes to which a method gave about the same chance; every bin holds about as many."""

    chance: float
    """Mean chance given to the response that the method holds to be better, 0.5 to 1."""
    share: float
    """Share of the votes that chose it; where both are held equal, half a vote."""
    share_se: float | None
    """Its standard error; None where there is only one cluster."""
    votes: int


class MethodScore(Document):
    """One method on the held-out votes. Standard errors are None where there is only one cluster."""

    method: MethodName
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
    calibration: tuple[CalibrationBin, ...] = ()
    """The reliability diagram, the least certain votes first; empty in reports of versions that did not draw it up."""


class MethodReliability(Document):
    """How alike one method orders both halves of the votes, mean over prompts. Standard errors are None for one prompt.

    It says how far the order would come out again, not how true it is (curate.evaluation.reliability).
    """

    method: MethodName
    tau: float
    """Kendall's tau-b between the orders of the two halves."""
    tau_se: float | None
    rho: float
    """Spearman's rank correlation between them."""
    rho_se: float | None
    full_rho: float | None
    """Reliability of the order of all votes, 2 rho / (1 + rho) (Spearman-Brown); None where rho is not above 0. It is
    too high for methods that pool prompts: to them twice the votes are less than twice the information."""
    full_rho_se: float | None
    against_bt: float
    """tau between this method on one half and Bradley-Terry on the other: what to compare methods by, since no pooling
    agrees with itself in it."""
    against_bt_se: float | None


class Reliability(Document):
    """Split-half reliability of the rankings. Standard errors take prompts, each at its mean over the splits, for
    independent; methods that pool them make them a little less so."""

    by: SplitBy
    splits: int
    prompts: int
    """Prompts that both halves of at least one split rank, by every method."""
    methods: tuple[MethodReliability, ...]
    """In the order of the validation; empty where no prompt could be compared."""


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
    reliability: Reliability | None
    """None where no split was asked for."""

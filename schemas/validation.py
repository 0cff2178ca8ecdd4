"""The report of ``curate validate``: how well each method predicts held-out votes, and how reliable its orders are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from schemas.base import Document
from schemas.choices import HoldOut
from schemas.rankers import MethodName

SplitBy = Literal["annotator", "vote"]
"""The unit that the two halves do not share: annotators, or only votes."""


class CalibrationBin(Document):
    """Held-out votes with a similar predicted probability."""

    renamed: ClassVar[dict[str, str]] = {"chance": "probability", "share": "observed", "share_se": "observed_se"}

    probability: float
    """Mean predicted probability of the response that the method ranks higher, 0.5 to 1."""
    observed: float
    """Share of the votes that chose it; where both are ranked equal, half a vote."""
    observed_se: float | None
    """Its standard error; None where there is only one cluster, or all or none of the votes chose it."""
    votes: int


class MethodScore(Document):
    """One method on the held-out votes. Standard errors are None where there is only one cluster."""

    renamed: ClassVar[dict[str, str]] = {
        "behind": "log_loss_difference",
        "behind_se": "log_loss_difference_se",
        "told_apart": "significant",  # renamed
    }
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {"method": {"joint": "hierarchical"}}

    method: MethodName
    log_loss: float
    """Mean negative log probability of the chosen response, nats; lower is better. log 2 = 0.693: no information, or
    the method orders other held-out votes wrongly more often than not (accuracy distinguishes the two)."""
    log_loss_se: float | None
    accuracy: float
    """Share of votes for the response that the method ranks higher (with a posterior: that it holds more probable);
    where both are ranked equal, half a vote."""
    accuracy_se: float | None
    calibration_error: float
    """ECE: mean distance between probability and observed frequency over ten bins of equal count; 0 is best."""
    log_loss_difference: float
    """Log-loss minus that of the best method; 0 for the best itself."""
    log_loss_difference_se: float | None
    """Standard error of that difference, paired by vote."""
    significant: bool | None
    """The difference to the best is significant at 5% (t-test, clusters − 1 degrees of freedom); None for the best
    itself and where there is only one cluster."""
    calibration: tuple[CalibrationBin, ...] = ()
    """The reliability diagram, the least certain votes first; empty in reports of versions that did not compute it."""

    levels: tuple[CalibrationBin, ...] = ()
    """Predicted and observed for the votes with a probability up to .7 (about 60%), up to .9 (80%) and above (95%)."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield None, self.method
        yield "log_loss", round(self.log_loss, 4)
        yield "accuracy", round(self.accuracy, 4)


class MethodReliability(Document):
    """Agreement of one method's orders of both halves, mean over prompts. Standard errors are None for one prompt.

    It measures how far the order would be reproduced, not how true it is (curate.evaluation.reliability).
    """

    renamed_values: ClassVar[dict[str, dict[str, str]]] = {"method": {"joint": "hierarchical"}}

    method: MethodName
    tau: float
    """Kendall's tau-b between the orders of the two halves."""
    tau_se: float | None
    rho: float
    """Spearman's rank correlation between them."""
    rho_se: float | None
    full_rho: float | None
    """Reliability of the order of all votes, 2 rho / (1 + rho) (Spearman-Brown); None where rho is not above 0. It is
    too high for methods that pool prompts: for them twice the votes are less than twice the information."""
    full_rho_se: float | None
    against_bt: float
    """tau between this method on one half and Bradley-Terry on the other: use it to compare methods, since pooling
    does not inflate it."""
    against_bt_se: float | None


class Reliability(Document):
    """Split-half reliability of the rankings. Standard errors treat prompts, each at its mean over the splits, as
    independent; methods that pool prompts violate that slightly."""

    by: SplitBy
    splits: int
    prompts: int
    """Prompts that both halves of at least one split rank, by every method."""
    methods: tuple[MethodReliability, ...]
    """In the order of the validation; empty where no prompt could be compared."""


class Overdispersion(Document):
    """How far the strengths by two halves of the annotators differ, against what their posteriors predict."""

    splits: int
    """Random halvings."""
    prompts: int
    """Prompts on which both halves inform the same differences in strength."""
    factor: float | None = None
    """Overdispersion factor: observed over modelled variance; 1 for independent votes, above 1 the posterior of the
    strengths is too narrow; None where no prompt has votes by
    several annotators."""
    factor_se: float | None = None
    significant: bool = False
    """The factor differs significantly from 1."""
    widening: float = 1.0
    """By what the posterior covariance of the strengths is multiplied: 1 unless the factor is significantly above 1;
    else the factor, and more where the fit has taken much of the noise for differences in strength."""

    summary: str
    """The factor and its consequence in a sentence."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield None, self.summary


class ValidationReport(Document):
    """Every method on the same held-out votes."""

    store: str
    by: HoldOut
    folds: int
    seed: int
    votes: int
    """Votes of the store that were assigned to folds. votes = scored + ties + not_ranked."""
    scored: int
    """Held-out votes that the methods are scored on: decisive, on two responses that the training votes rank."""
    ties: int
    """Held-out votes that are not decisive."""
    not_ranked: int
    """Decisive held-out votes on responses that no chain of training votes connects, or in prompts not ranked."""
    clustered_by: Literal["prompt", "annotator"]
    """The unit that the standard errors treat as independent."""
    clusters: int
    methods: tuple[MethodScore, ...]
    """Best first: lowest log-loss."""
    overdispersion: Overdispersion | None = None
    """By the hierarchical ranker on all votes; None in reports of an earlier version."""
    reliability: Reliability | None
    """None where no splits were requested."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "scored", self.scored
        yield "by", self.by
        yield "folds", self.folds
        yield "methods", {score.method: round(score.log_loss, 4) for score in self.methods}

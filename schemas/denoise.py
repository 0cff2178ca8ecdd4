"""What a denoise run reports: the choice of the ranker, the votes, the rankings, warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from schemas.base import Document
from schemas.choices import EqualTexts, HoldOut
from schemas.validation import MethodScore, Overdispersion
from schemas.votes import NO_CRITERION


class AutoReport(Document):
    """The comparison of all methods on held-out votes."""

    by: HoldOut
    """The unit that was held out whole."""
    folds: int
    prompts: int
    """Prompts whose votes were held out."""
    votes: int
    """Held-out votes that the methods are scored on."""
    methods: tuple[MethodScore, ...]
    """Best first: lowest log-loss. stack is the sum of log odds with the weights below, cross-fitted."""
    weights: dict[str, float]
    """The stack's weights of each ranker's log odds, without those of 0."""
    slopes: dict[str, float] = {}
    """Log odds per unit of the score of each of these rankers."""
    kept: bool = False
    """The choice is that of an earlier run with the same config; no votes were held out in this one."""
    chosen_run: str = ""
    """That run; empty where votes were held out in this one."""
    chosen_on: int = 0
    """Votes that it had."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "votes", self.votes
        yield "methods", {score.method: round(score.log_loss, 4) for score in self.methods}


class DesignReport(Document):
    """The comparison design: how the compared pairs were chosen."""

    renamed: ClassVar[dict[str, str]] = {"words": "summary"}

    design: Literal["complete", "random", "adaptive"]
    """complete: every pair about equally often; random: unevenly, but not by strength; adaptive: by strength."""
    coverage: float
    """Share of all pairs with a vote."""
    dispersion: float | None
    """Variance over mean of votes per pair; 1 for independent random pairs, 0 where all pairs have the same number."""
    association: float
    """Correlation within prompts of a response's comparisons with its strength; above 0, strong ones have more."""
    association_p: float
    """p-value of the association (two-sided)."""
    summary: str
    """The consequence for the rankers, in a sentence."""


class StrengthsReport(Document):
    """The distribution of strengths around their models' means, by the hierarchical ranker."""

    renamed: ClassVar[dict[str, str]] = {"gap": "separation", "upper": "upper_weight", "words": "summary"}
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {"shape": {"heaps": "mixture", "tails": "heavy-tailed"}}

    shape: Literal["normal", "mixture", "heavy-tailed"]
    """mixture: of two components, as for right and wrong answers. heavy-tailed: reports of earlier versions."""
    separation: float | None
    """Distance between the means of the two components, logits."""
    upper_weight: float | None
    """Weight of the component with the higher mean."""
    summary: str
    """That in a sentence."""


class PerceptionReport(Document):
    """The errors of perception that the votes of a sitting share, by the hierarchical ranker."""

    status: Literal["absent", "negligible", "identified", "not identified", "not estimated"]
    """absent: no annotator has several votes on a prompt. not identified: the votes do not tell errors from differences
    between responses, so that intervals allow for both. not estimated: annotators have too many votes on too many
    responses of a prompt; intervals may be too narrow."""
    error_sd: float
    """Standard deviation of the errors, logits."""
    strength_sd: float
    """Standard deviation of strengths around their models' means, logits."""
    summary: str
    """That in a sentence."""


class EffectReport(Document):
    """The effect of a covariate on votes, by the hierarchical ranker."""

    covariate: str
    effect: float
    """Log odds per unit of the left response's surplus; per doubling for length and markdown."""
    low: float
    """Lower end of its 90% interval."""
    high: float
    """Upper end."""


class EqualTextsReport(Document):
    """Responses of one prompt with equal texts."""

    handling: EqualTexts
    """merge: they share strength, votes and rank. keep: each was ranked on its own."""
    groups: int
    """Groups of responses with equal texts."""
    responses: int
    """Responses in them."""
    prompts: int
    """Prompts with such a group."""
    excluded_votes: int
    """Votes between equal texts, which no order can explain."""
    near_groups: int
    """Groups of texts that are not equal but have the same words; they are ranked separately (curate status
    --equal-texts lists them)."""
    near_prompts: int
    """Prompts with such a group."""


WARNINGS: dict[str, str] = {
    "no_held_out_votes": "too few votes (below 20) could be held out to compare the rankers: hierarchical is used",
    "no_better_than_chance": "no method predicts held-out votes better than chance: intervals and expected tau rest on "
    "the model alone",
    "one_sided": "more than 95% of the votes are for the same side: is the column of outcomes read as intended?",
    "one_sided_annotators": "annotators who chose the same side in all of at least 20 votes: {count}",
    "overdispersed": "votes are dependent (see the overdispersion factor): intervals, confidence and expected tau are "
    "wider than the model's",
    "disconnected": "prompts that votes do not connect: {count}; their responses are ranked only within connected "
    "components",
    "not_ranked": "prompts that are not ranked: {count} (too few votes, no decisive vote, or not connected)",
    "not_proven_optimal": "prompts whose feedback-arc-set order is not proven optimal: {count}; --effort high may "
    "prove more",
}
"""Code of a warning -> its text."""


class DenoiseReport(Document):
    """One denoise run."""

    renamed: ClassVar[dict[str, str]] = {
        "left_out": "excluded_votes",  # renamed
        "proved": "proven_optimal",
        "gap": "optimality_gap",
        "unsolved": "not_converged",
        "contradicted": "disagreement",  # renamed
    }
    renamed_values: ClassVar[dict[str, dict[str, str]]] = {
        "ranker": {"joint": "hierarchical"},
        "method": {"joint": "hierarchical"},
    }

    store: str
    run: str
    reused: bool
    """True when the same run was already in the store and nothing was computed."""
    ranker: str
    """The ranker of the config."""
    method: str
    """The ranker whose order is the ranking: that of the config, or the choice of auto."""
    criterion: str = ""
    """The criterion of the votes; "(none)" if they have none; empty in reports of earlier versions."""
    auto: AutoReport | None
    """None where the config names a ranker, or fewer than 20 votes could be held out."""
    design: DesignReport
    spammers: int
    """Annotators whose votes were excluded (max_spammer)."""
    spammer_ids: tuple[str, ...] = ()
    excluded_votes: int
    """Their votes."""
    rings: tuple[tuple[str, ...], ...] = ()
    """Rings: accounts whose answers agree more than independent judgments can."""
    copied_votes: int = 0
    """Copies in the votes of rings, which were excluded."""
    equal_texts: EqualTextsReport | None = None
    """None in runs of an earlier version."""
    votes: int
    prompts: int
    ranked: int
    """Prompts with one full ranking."""
    status: dict[str, int]
    """Prompts by status: ranked, disconnected, too_few_votes, skipped."""
    responses: int
    """Responses ranked."""
    strengths: StrengthsReport | None = None
    """None in runs of an earlier version."""
    perception: PerceptionReport | None = None
    """None in runs of an earlier version."""
    effects: tuple[EffectReport, ...] = ()
    """Of the covariates that the run controls for."""
    overdispersion: Overdispersion | None = None
    """None in runs of an earlier version."""
    expected_tau: float | None
    """Expected Kendall tau of the rankings to the true order, by the hierarchical ranker's posterior; mean over full
    rankings."""
    proven_optimal: int | None
    """Prompts whose feedback-arc-set order is proven optimal; None where no ranker with a bound was run."""
    optimality_gap: float | None
    """Sum over prompts of cost minus lower bound of that order, in vote weight."""
    unproven: dict[str, float] = {}
    """Prompt whose order is not proven optimal -> its optimality gap, the largest first; at most 100 prompts."""
    not_converged: dict[str, int]
    """Ranker -> prompts on which it did not converge, without those of 0."""
    cyclic_triads: int
    disagreement: float | None
    """Share of the vote weight that disagrees with the final orders."""
    agreement: dict[str, float | None]
    """"a ~ b" -> mean Kendall tau-b between two rankers over connected prompts; None where it is not defined. Only of
    rankers that were run: all of them with ``compare``."""
    weights: dict[str, float]
    """The ensemble's weights, summing to 1; empty where it is not the method."""
    warning_counts: dict[str, int] = {}
    """Code of each warning -> prompts or annotators concerned (0: the whole run)."""
    warnings: tuple[str, ...]
    """The warnings in sentences."""

    @property
    def by_criterion(self) -> str:
        """ " by the criterion NAME"; empty if the votes have none."""
        return f" by the criterion {self.criterion}" if self.criterion not in ("", NO_CRITERION) else ""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "run", self.run
        yield "method", self.method
        yield "prompts", self.prompts
        yield "ranked", self.ranked
        yield "votes", self.votes
